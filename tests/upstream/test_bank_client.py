"""The proxy's own calls to the bank, against correct and faulty servers."""

import asyncio
import gzip
import ssl
from pathlib import Path

import pytest

from proxy.errors import TokenError, kinds
from proxy.upstream.bank_client import MAX_FIELD, MAX_RESPONSE, USER_AGENT, BankResponse
from proxy.upstream.tunnel import OutboundProxy
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.dialing import bank_client
from tests.support.running import until
from tests.support.upstream_server import ScriptedUpstream, ScriptStep, hold, ok, read, reset, send

HEADERS = {"transactionId": "0d1c", "Authorization": "Basic eDp5"}


async def call(
    *script: ScriptStep, tls: ssl.SSLContext | None = None, trust: ssl.SSLContext | None = None
) -> BankResponse:
    """Make one call to a server with this script; raises what the call raises."""
    async with ScriptedUpstream(script, tls=tls) as upstream:
        bank = bank_client(upstream.url, timeout=5, tls=trust)
        try:
            return await bank.call("POST", "/p?a=b%20c", HEADERS, b"a=b")
        finally:
            await bank.close()


async def failure(*script: ScriptStep, **how: ssl.SSLContext) -> TokenError:
    """Return the error of a call to such a server."""
    with pytest.raises(TokenError) as error:
        await call(*script, **how)
    return error.value


async def test_call_is_sent_as_given() -> None:
    """Method, path, headers and body arrive as given, with the proxy's User-Agent."""
    async with ScriptedUpstream([read(), send(ok(b"yes"))]) as upstream:
        bank = bank_client(upstream.url + "/base", timeout=5)
        response = await bank.call("DELETE", "/p?a=b%20c", HEADERS, b"token=x")
        await bank.close()
    (request,) = upstream.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "DELETE /base/p?a=b%20c HTTP/1.1"
    assert {"transactionId: 0d1c", "Authorization: Basic eDp5", f"User-Agent: {USER_AGENT}"} <= {
        *lines
    }
    assert body == b"token=x"
    assert (response.status, response.body, response.retry_after) == (200, b"yes", None)
    assert "yes" not in repr(response)


async def test_call_without_a_body_has_no_length() -> None:
    """A caller's own User-Agent replaces the proxy's."""
    async with ScriptedUpstream([read(), send(ok(b""))]) as upstream:
        bank = bank_client(upstream.url, timeout=5)
        await bank.call("GET", "/p", {"User-Agent": "bench/1.0"})
        await bank.close()
    assert b"Content-Length" not in upstream.requests[0]
    assert upstream.requests[0].count(b"User-Agent: bench/1.0\r\n") == 1


async def test_status_and_retry_after_are_returned() -> None:
    """An error status is a response; Retry-After and Date are returned as received."""
    wire = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nDate: D\r\nContent-Length: 2\r\n\r\nno"
    assert await call(read(), send(wire)) == BankResponse(429, b"no", "7", "D")


@pytest.mark.parametrize(
    "headers", [[b"X-Policy: %b" % (b"p" * 12_288)], [b"X-%d: y" % at for at in range(140)]]
)
async def test_large_head_is_accepted(headers: list[bytes]) -> None:
    """A header of 12 KiB or 140 headers are read as on the forwarding path."""
    assert (await call(read(), send(ok(b"yes", *headers)))).body == b"yes"


async def test_oversized_head_is_an_error() -> None:
    """Size and number of headers are bounded."""
    for headers in ([b"X: %b" % (b"p" * 2 * MAX_FIELD)], [b"X-%d: y" % at for at in range(600)]):
        error = await failure(read(), send(ok(b"yes", *headers)))
        assert error.reason is kinds.TOKEN_MALFORMED


async def test_redirect_is_not_followed() -> None:
    """A redirect is returned as a response."""
    async with ScriptedUpstream([read(), send(ok(b"stolen"))]) as elsewhere:
        location = f"Location: {elsewhere.url}/x".encode()
        wire = b"HTTP/1.1 302 Found\r\n%b\r\nContent-Length: 0\r\n\r\n" % location
        assert (await call(read(), send(wire))).status == 302
        assert elsewhere.connections == 0


async def test_calls_share_no_state() -> None:
    """Each call has its own connection, and cookies are not kept."""
    wire = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with ScriptedUpstream([read(), send(wire), hold()]) as upstream:
        bank = bank_client(upstream.url, timeout=5)
        for _ in range(2):
            await bank.call("GET", "/p", HEADERS)
        await bank.close()
    assert upstream.connections == 2
    assert not any(b"ookie" in request for request in upstream.requests)


async def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials go to the configured origin, whatever HTTP_PROXY says."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await call(read(), send(ok(b"yes")))).status == 200


async def test_gzip_response_is_decoded() -> None:
    """The body is returned decoded."""
    packed = gzip.compress(b'{"a": 1}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert (await call(read(), send(head + packed))).body == b'{"a": 1}'


def framed(body: bytes, *lines: bytes) -> bytes:
    """Return a response with this body and these headers."""
    head = b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines))
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "wire",
    [
        framed(b"x" * (MAX_RESPONSE + 1)),
        framed(gzip.compress(bytes(50_000_000)), b"Content-Encoding: gzip"),
        framed(b"no gzip", b"Content-Encoding: gzip"),
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
    ],
    ids=["too long", "bomb", "no gzip", "no HTTP", "cut", "bad chunk", "lengths", "head", "status"],
)
async def test_malformed_response_is_an_error(wire: bytes) -> None:
    """Too long, truncated or not HTTP; memory stays bounded."""
    error = await failure(read(), send(wire))
    assert error.reason is kinds.TOKEN_MALFORMED


async def test_longest_response_is_accepted() -> None:
    """A body of exactly the limit is read."""
    assert len((await call(read(), send(framed(b"x" * MAX_RESPONSE)))).body) == MAX_RESPONSE


@pytest.mark.parametrize("script", [[hold()], [read(), send(b"HTTP/1.1 200 OK\r\n"), hold()]])
async def test_silence_times_out(script: list[ScriptStep]) -> None:
    """A missing or incomplete response ends at the deadline."""
    async with ScriptedUpstream(script) as upstream:
        bank = bank_client(upstream.url, timeout=0.2)
        with pytest.raises(TokenError) as error:
            await bank.call("GET", "/p", HEADERS)
        await bank.close()
    assert error.value.reason is kinds.TOKEN_TIMEOUT


@pytest.mark.parametrize("script", [[read()], [read(), reset()]], ids=["closed", "reset"])
async def test_lost_connection_is_an_error(script: list[ScriptStep]) -> None:
    """The bank counts as unreachable."""
    assert (await failure(*script)).reason is kinds.TOKEN_UNREACHABLE


async def test_closed_port_is_an_error() -> None:
    """A closed port and a name that does not resolve have different errors."""
    async with ScriptedUpstream([read()]) as upstream:
        gone = upstream.url
    for url, detail in (
        (gone, "refuse connections"),
        ("http://nowhere.invalid", "does not resolve"),
    ):
        bank = bank_client(url, timeout=5)
        with pytest.raises(TokenError, match=detail) as error:
            await bank.call("GET", "/p", HEADERS)
        await bank.close()
        assert error.value.reason is kinds.TOKEN_UNREACHABLE


async def test_certificate_is_verified(tmp_path: Path) -> None:
    """An unknown authority and a wrong name are refused."""
    ours, theirs = (OpensslAuthority.make(tmp_path, name) for name in ("ours", "theirs"))
    good = server_context(ours.issue("bank", "IP:127.0.0.1", file="good"))
    named = server_context(ours.issue("bank", "DNS:elsewhere.test", file="named"))
    trust, distrust = (ssl.create_default_context(cafile=ca.file) for ca in (ours, theirs))
    assert (await call(read(), send(ok(b"yes")), tls=good, trust=trust)).body == b"yes"
    for shown, trusted, kind in (
        (good, distrust, kinds.UPSTREAM_TLS_UNTRUSTED),
        (named, trust, kinds.UPSTREAM_TLS_NAME),
    ):
        error = await failure(read(), send(ok(b"yes")), tls=shown, trust=trusted)
        assert error.reason is kinds.TOKEN_UNREACHABLE
        assert error.explained_by is kind


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (
            [read(), send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")],
            "refused the user and password",
        ),
        ([read(), send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")], "(403)"),
    ],
)
async def test_refusing_outbound_proxy_is_named(script: list[ScriptStep], detail: str) -> None:
    """Its errors are distinguished from the bank's."""
    async with ScriptedUpstream(script) as middle:
        out = OutboundProxy("127.0.0.1", middle.port, "me", "pass")
        bank = bank_client("https://bank.invalid", timeout=5, proxy=out)
        with pytest.raises(TokenError, match=detail) as error:
            await bank.call("GET", "/p", HEADERS)
        await bank.close()
    assert error.value.reason is kinds.TOKEN_UNREACHABLE
    assert middle.requests[0].startswith(b"CONNECT bank.invalid:443 HTTP/1.1\r\n")
    assert b"transactionId" not in middle.requests[0]


async def test_unreachable_outbound_proxy_is_named() -> None:
    """The error names the proxy; without a login no user is sent."""
    async with ScriptedUpstream([read()]) as middle:
        port = middle.port
    bank = bank_client("http://bank.invalid", timeout=5, proxy=OutboundProxy("127.0.0.1", port))
    with pytest.raises(TokenError, match="outbound proxy cannot be reached"):
        await bank.call("GET", "/p", HEADERS)
    await bank.close()


async def test_hanging_calls_do_not_delay_others() -> None:
    """The next call succeeds while many hang."""
    script = [[hold()]] * 200
    async with ScriptedUpstream(*script, [read(), send(ok(b"yes"))]) as upstream:
        bank = bank_client(upstream.url, timeout=30)
        stuck = [asyncio.ensure_future(bank.call("GET", "/p", HEADERS)) for _ in script]
        await until(lambda: upstream.connections == len(script))
        assert (await bank.call("GET", "/p", HEADERS)).body == b"yes"
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        await bank.close()


async def test_close_without_a_call() -> None:
    """A client that was never used can be closed."""
    await bank_client("http://127.0.0.1:1", timeout=1).close()
