"""Tunnels through an outbound proxy: a real one, correct and faulty."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import UpstreamError, UpstreamFailure, kinds
from proxy.sandbox import Sandbox
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.tunnel import OutboundProxy, check_response
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.connect_proxy import ConnectProxy
from tests.support.dialing import Streams, dial
from tests.support.mounted_files import write
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture, sample
from tests.support.running import CLIENT, DEADLINE, until
from tests.support.upstream_server import ScriptedUpstream, respond_to_all

EVERY_LOOP = True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """The authority of the bank's certificate."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority: OpensslAuthority) -> ssl.SSLContext:
    """The bank's TLS context."""
    return server_context(authority.issue("bank", "IP:127.0.0.1"))


@pytest.fixture
async def bank(context: ssl.SSLContext) -> AsyncIterator[Sandbox]:
    """A bank with TLS."""
    bank = Sandbox()
    await bank.start(ssl_context=context)
    yield bank
    await bank.stop()


async def tunnel(
    proxy: OutboundProxy, host: str = "127.0.0.1", port: int = 1, seconds: float = 5
) -> Streams:
    """Open a tunnel within ``seconds`` seconds."""
    settings = UpstreamSettings(connect_timeout=seconds)
    return await dial(Dialer(UpstreamOrigin(host, port, None, proxy), settings))


async def failure(proxy: OutboundProxy, seconds: float = 5) -> tuple[UpstreamFailure, str]:
    """Fail to open a tunnel; return reason and detail."""
    with pytest.raises(UpstreamError) as caught:
        await tunnel(proxy, seconds=seconds)
    return caught.value.reason, caught.value.detail


async def test_tunnel_passes_bytes() -> None:
    """Bytes pass unchanged; the proxy gets the target only."""
    async with ScriptedUpstream(respond_to_all(b"through")) as upstream, ConnectProxy() as company:
        out = OutboundProxy("127.0.0.1", company.port)
        reader, writer = await tunnel(out, port=upstream.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n")
        assert b"through" in await reader.readuntil(b"through")
        writer.close()
        target = f"127.0.0.1:{upstream.port}"
        assert company.heads == [f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"]


async def test_ipv6_address_is_in_brackets() -> None:
    """``CONNECT`` writes an IPv6 address as a URL does."""
    async with ConnectProxy(response=b"HTTP/1.1 200 OK\r\n\r\n") as company:
        out = OutboundProxy("127.0.0.1", company.port)
        (await tunnel(out, host="::1", port=443))[1].close()
        assert company.heads[0].startswith("CONNECT [::1]:443 HTTP/1.1\r\n")


async def test_login_is_sent() -> None:
    """With a login the proxy opens the tunnel; the repr has no password."""
    async with (
        ScriptedUpstream(respond_to_all()) as upstream,
        ConnectProxy(login="me:pa:ss") as company,
    ):
        proxy = OutboundProxy("127.0.0.1", company.port, "me", "pa:ss")
        (await tunnel(proxy, port=upstream.port))[1].close()
        assert "pa:ss" not in repr(proxy)


async def test_every_address_of_the_proxy_is_tried() -> None:
    """A name may have an address that refuses."""
    async with ConnectProxy(response=b"HTTP/1.1 200 OK\r\n\r\n") as company:
        # Where there is IPv6, localhost is ::1 first, which refuses.
        (await tunnel(OutboundProxy("localhost", company.port)))[1].close()
        assert len(company.heads) == 1


FAILURES = {
    "wants another login": (
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        kinds.UPSTREAM_PROXY_LOGIN,
        "refused the user and password",
    ),
    "refuses": (b"HTTP/1.1 403 Forbidden\r\n\r\n", kinds.UPSTREAM_PROXY_REFUSED, "(403)"),
    "cannot reach the bank": (
        b"HTTP/1.0 502 Bad Gateway\r\nX: y\r\n\r\n",
        kinds.UPSTREAM_PROXY_NO_CONNECTION,
        "could not connect to the bank (502)",
    ),
    "redirects": (b"HTTP/1.1 302 Found\r\n\r\n", kinds.UPSTREAM_PROXY_REFUSED, "(302)"),
    "speaks something else": (b"220 mail.test ESMTP\r\n\r\n", kinds.UPSTREAM_PROXY_MALFORMED, ""),
    "closes": (b"HTTP/1.1 200 OK\r\n", kinds.UPSTREAM_PROXY_MALFORMED, "not speak the protocol"),
    "never ends its head": (
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000,
        kinds.UPSTREAM_PROXY_MALFORMED,
        "not speak the protocol",
    ),
    "speaks for the bank": (
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
        kinds.UPSTREAM_PROXY_MALFORMED,
        "not speak the protocol",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_each_failure_has_its_reason(case: str) -> None:
    """Reason and detail describe the proxy's response."""
    response, reason, detail = FAILURES[case]
    async with ConnectProxy(response=response) as company:
        found = await failure(OutboundProxy("127.0.0.1", company.port))
        assert found[0] is reason
        assert detail in found[1]
        await until(lambda: company.open == 0)


async def test_unreachable_outbound_proxy_is_named() -> None:
    """The error names the port of the outbound proxy."""
    async with ConnectProxy() as company:
        pass
    proxy = OutboundProxy("127.0.0.1", company.port)
    kind, detail = await failure(proxy)
    assert kind is kinds.UPSTREAM_PROXY_CONNECT
    assert detail.endswith(f" Tried: 127.0.0.1:{company.port} (connection refused).")


async def test_unresolvable_outbound_proxy_is_named() -> None:
    """The error differs from that of a closed port."""
    assert (await failure(OutboundProxy("no-such-host.invalid", 3128)))[0] is (
        kinds.UPSTREAM_PROXY_RESOLVE
    )


async def test_silent_outbound_proxy_times_out() -> None:
    """The error names the proxy, not the bank."""
    async with ConnectProxy(silent=True) as company:
        proxy = OutboundProxy("127.0.0.1", company.port)
        assert (await failure(proxy, seconds=0.1))[0] is kinds.UPSTREAM_PROXY_TIMEOUT
        await until(lambda: company.open == 0 or company.heads)


async def test_resetting_outbound_proxy_is_an_error() -> None:
    """A reset before a response."""
    async with ConnectProxy(silent=True) as company:
        opening = asyncio.create_task(failure(OutboundProxy("127.0.0.1", company.port)))
        await until(lambda: company.heads)
        for task in list(company._tasks):
            task.cancel()
        assert (await opening)[0] is kinds.UPSTREAM_PROXY_MALFORMED


def test_any_2xx_opens_the_tunnel() -> None:
    """RFC 9110 section 9.3.6."""
    for line in (b"HTTP/1.1 200 ", b"HTTP/1.0 200 Connection established", b"HTTP/1.1 204"):
        check_response(line + b"\r\nVia: a\r\n\r\n")


async def through(
    tmp_path: Path, authority: OpensslAuthority, company: ConnectProxy
) -> dict[str, str]:
    """Return upstream settings for an outbound proxy."""
    write(tmp_path / "password", "company-password")
    return {
        "ca_file": str(authority.file),
        "proxy": company.url,
        "proxy_user": "me",
        "proxy_password_file": str(tmp_path / "password"),
    }


@pytest.fixture
async def company() -> AsyncIterator[ConnectProxy]:
    """An outbound proxy that requires a login."""
    async with ConnectProxy(login="me:company-password") as company:
        yield company


@pytest.fixture
async def fixture(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    bank: Sandbox,
    authority: OpensslAuthority,
    company: ConnectProxy,
) -> AsyncIterator[ProxyFixture]:
    """A proxy that reaches its bank through the outbound proxy only.

    Its parameter, if any, is the connect timeout.
    """
    upstream = await through(tmp_path, authority, company)
    write(tmp_path / "secret", CLIENT["client_secret"])
    async with proxy_fixture(
        tmp_path / "proxy.yaml", bank, client_secret_file=str(tmp_path / "secret"),
        upstream=upstream | {"connect_timeout": getattr(request, "param", "30s")},
    ) as fixture:  # fmt: skip
        yield fixture


async def test_requests_and_token_calls_use_the_tunnel(
    fixture: ProxyFixture, company: ConnectProxy
) -> None:
    """TLS to the bank is inside it, and the connection is reused."""
    assert [await fixture.call() for _ in range(3)] == [200] * 3
    port = fixture.bank.url.rpartition(":")[2]
    assert len(company.heads) == 2  # one for the token, one for the three requests
    assert all(head.startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.1") for head in company.heads)
    assert "Bearer" not in "".join(company.heads)


@pytest.mark.parametrize(
    ("response", "status", "reason"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", 502, "upstream-proxy-login"),
        (b"HTTP/1.1 403 No\r\n\r\n", 502, "upstream-proxy-refused"),
        (b"what?\r\n\r\n", 502, "upstream-proxy-malformed"),
    ],
)
async def test_failure_is_reported_and_recovers(
    fixture: ProxyFixture, company: ConnectProxy, response: bytes, status: int, reason: str
) -> None:
    """Caller, log and metric name the outbound proxy; later requests succeed."""
    company.response = response
    assert await fixture.call() == status
    check_reports(fixture, reason)
    company.response = b""
    assert await fixture.call() == 200


@pytest.mark.parametrize("fixture", ["300ms"], indirect=True)
async def test_silent_outbound_proxy_is_reported(
    fixture: ProxyFixture, company: ConnectProxy
) -> None:
    """The caller gets 504, and a later request succeeds."""
    company.silent = True
    assert await fixture.call() == 504
    check_reports(fixture, "upstream-proxy-timeout")
    company.silent = False
    async with asyncio.timeout(DEADLINE):
        while await fixture.call() != 200:
            pass  # on a busy machine the handshakes can take longer than the timeout


def check_reports(fixture: ProxyFixture, reason: str) -> None:
    """Check that log and metric have one failure for this reason."""
    assert fixture.log.lines("request")[-1]["reason"] == reason
    labels = {"reason": reason, "error_source": "upstream"}
    assert sample(fixture.app, "candescent_proxy_errors_total", **labels) == 1


async def test_outbound_proxy_that_stops_and_returns(
    fixture: ProxyFixture, company: ConnectProxy
) -> None:
    """Requests fail with its reason and then succeed again."""
    await company.__aexit__(None, None, None)
    assert await fixture.call() == 502
    assert fixture.log.lines("request")[-1]["reason"] == "upstream-proxy-connect"
    async with company:
        assert await fixture.call() == 200


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "refused the user and password"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "(403)"),
    ],
)
async def test_token_call_names_the_outbound_proxy(
    fixture: ProxyFixture, company: ConnectProxy, response: bytes, detail: str
) -> None:
    """The token error does not blame the bank."""
    company.response = response
    entry = next(fixture.app.tokens.entries())
    fixture.app.tokens.start_refresh(entry)
    await until(lambda: fixture.log.lines("token refresh failed"))
    line = fixture.log.lines("token refresh failed")[0]
    assert line["reason"] == "unreachable"
    assert detail in line["detail"]


async def test_rotated_password_of_the_outbound_proxy(
    fixture: ProxyFixture, company: ConnectProxy, tmp_path: Path
) -> None:
    """The password file is watched, verified and applied like a secret."""
    write(tmp_path / "password", "not-yet")
    await fixture.wait_for_failed_reload()
    assert "outbound proxy refused the user" in fixture.warnings()[0]
    company.login = "me:rotated"
    write(tmp_path / "password", "rotated")
    await fixture.wait_for_reload()
    assert await fixture.call() == 200
