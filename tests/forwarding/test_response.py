"""Responses: the bank's, and the proxy's own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.runtime.app import App
from proxy.sandbox import Sandbox, Settings
from tests.support.raw_client import GET, RawResponse, ask, connect, request
from tests.support.running import running, until
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    chunked,
    close,
    forever,
    hold,
    ok,
    read,
    respond_to_all,
    response_head,
    send,
    wait,
)

EVERY_LOOP = True

OLD = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
OLD_KEPT = OLD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")


@asynccontextmanager
async def proxy_before(*script: ScriptStep, **overrides: Any) -> AsyncIterator[App]:
    """Run a proxy in front of an upstream that follows the script on each connection."""
    async with (
        ScriptedUpstream(script) as upstream,
        running(upstream.url, bearer_token="scripted", **overrides) as app,
    ):
        yield app


async def relayed(data: bytes, *steps: ScriptStep, request_data: bytes = GET) -> RawResponse:
    """Return what a caller gets when the bank responds with ``data``."""
    async with proxy_before(read(), send(data), *(steps or (hold(),))) as app:
        return await ask(app, request_data)


# Response head.


async def test_status_and_reason_pass_unchanged() -> None:
    """An empty reason does too."""
    got = await relayed(response_head(b"299 Odd but well", b"Content-Length: 0"))
    assert (got.version, got.status, got.reason) == (b"HTTP/1.1", 299, b"Odd but well")
    assert (await relayed(response_head(b"200 ", b"Content-Length: 0"))).reason == b""


async def test_headers_pass_in_order() -> None:
    """Duplicates and any permitted bytes are kept."""
    got = await relayed(
        ok(b"x", b"Set-Cookie: a", b"X-Long: " + b"y" * 30_000, b"set-cookie: b", b"X: \xe4")
    )
    names = [name for name, _ in got.headers]
    assert names[:4] == [b"Set-Cookie", b"X-Long", b"set-cookie", b"X"]
    assert got.all("Set-Cookie") == ["a", "b"]
    assert got.all("X") == ["ä"]


async def test_hop_by_hop_headers_are_removed() -> None:
    """They concern the upstream connection only (RFC 9110 section 7.6.1)."""
    got = await relayed(
        ok(
            b"x",
            *(b"Connection: close, X-Gone", b"X-Gone: 1", b"Keep-Alive: timeout=5"),
            *(b"Proxy-Authenticate: x", b"Upgrade: h2c", b"Trailer: X", b"TE: trailers"),
            b"x-proxy-error-source: token",
        )
    )
    assert [name for name, _ in got.headers] == [b"transactionId", b"Content-Length"]


async def test_response_has_a_transaction_id() -> None:
    """It is the bank's, otherwise the proxy's."""
    got = await relayed(ok(b"", b"TransactionID: theirs"))
    assert got.all("transactionId") == ["theirs"]
    assert (await relayed(ok())).header("transactionId")


async def test_interim_responses_are_dropped() -> None:
    """The caller gets the final response only."""
    got = await relayed(response_head(b"103 Early Hints", b"Link: </a>") + ok(b"x"))
    assert (got.status, got.body, got.header("Link")) == (200, b"x", None)


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("{origin}/base/v1/x?y", "{us}/v1/x?y"),
        ("{origin}/other", "{origin}/other"),
        ("http://elsewhere.test/base/v1", "http://elsewhere.test/base/v1"),
        ("/base/v1", "/base/v1"),
    ],
)
async def test_location_is_rewritten(location: str, seen: str) -> None:
    """A Location at the bank becomes one at the proxy; redirects are not followed.

    A caller that used an unknown Host gets a path.
    """
    async with Sandbox(Settings(base_path="/base")) as bank, running(bank) as app:
        origin, host = bank.url.removesuffix("/base"), str(app.data_address)
        target = "/redirect?to=" + location.format(origin=origin).replace("?", "%3F")
        got = await ask(app, request("GET", target, host=host))
        assert (got.status, got.header("Location")) == (
            302,
            seen.format(us=f"http://{host}", origin=origin),
        )
        based = await ask(app, request("GET", "/base" + target, host="me.test:99"))
        kept = location.format(origin="" if location != seen else origin)
        assert based.header("Location") == kept
        assert len(bank.bank.arrivals) == 2


# Response body.


@pytest.mark.parametrize("request_data", [GET, OLD, OLD_KEPT], ids=["1.1", "1.0", "1.0 kept"])
@pytest.mark.parametrize(
    ("script", "ends"),
    [
        ([send(ok(b"hello"))], True),
        ([send(chunked(b"hel", b"lo"))], True),
        ([send(response_head(b"200 OK", b"Content-Length: 5")), wait(), send(b"hello")], True),
        (
            [
                send(response_head(b"200 OK", b"Transfer-Encoding: chunked")),
                *(wait(), send(b"5\r\nhello\r\n0\r\n\r\n")),
            ],
            False,
        ),
        ([send(response_head(b"200 OK")), wait(), send(b"hello"), close()], False),
    ],
    ids=["sized", "chunked", "sized, later", "chunked, later", "until close"],
)
async def test_body_is_complete_in_any_framing(
    request_data: bytes, script: Sequence[ScriptStep], *, ends: bool
) -> None:
    """HTTP/1.1 and 1.0 callers get the whole body, and connections persist where possible.

    ``ends``: whether an HTTP/1.0 caller can tell where the body ends.
    """
    async with (
        ScriptedUpstream([read(), *script, *respond_to_all()], respond_to_all()) as upstream,
        running(upstream.url, bearer_token="scripted") as app,
        connect(app) as wire,
    ):
        await wire.send(request_data)
        await until(lambda: upstream.requests)
        upstream.may_continue.set()
        got = await wire.read_response()
        assert (got.version, got.body) == (b"HTTP/1.1", b"hello")
        kept = request_data is GET or (request_data is OLD_KEPT and ends)
        if kept:
            assert got.header("Connection") == ("keep-alive" if request_data is OLD_KEPT else None)
            assert (await wire.ask()).body == b"yes"
        else:
            assert got.header("Connection") == "close"
            assert await wire.read_to_end() == b""


@pytest.mark.parametrize(
    ("method", "head", "length"),
    [
        ("HEAD", response_head(b"200 OK", b"Content-Length: 77"), "77"),
        ("HEAD", response_head(b"200 OK", b"Transfer-Encoding: chunked"), None),
        ("HEAD", response_head(b"200 OK"), None),
        ("GET", response_head(b"304 Not Modified", b"Content-Length: 77", b'ETag: "x"'), "77"),
        ("GET", response_head(b"304 Not Modified"), None),
        ("GET", response_head(b"204 No Content"), None),
        ("GET", response_head(b"204 No Content", b"Content-Length: 0"), None),
        ("HEAD", response_head(b"204 No Content"), None),
    ],
)
async def test_bodiless_response(method: str, head: bytes, length: str | None) -> None:
    """HEAD, 204 and 304 responses keep Content-Length, and the connection is reused."""
    async with proxy_before(forever(read(), send(head))) as app, connect(app) as wire:
        for _ in range(2):
            await wire.send(request(method, "/"))
            got = await wire.read_response(bodiless=True)
            assert got.header("Content-Length") == length
            assert got.header("Transfer-Encoding") is None
            assert got.header("Connection") is None


@pytest.mark.parametrize("size", [1, 65_536, 1_000_000])
@pytest.mark.parametrize("in_chunks", [True, False])
async def test_download_arrives_complete(size: int, *, in_chunks: bool) -> None:
    """The body arrives unchanged in its original framing."""
    async with Sandbox() as bank, running(bank) as app:
        target = f"/download?bytes={size}" + ("&chunked=1" if in_chunks else "")
        got = await ask(app, request("GET", target))
        assert len(got.body) == size
        direct = await ask(app, request("GET", f"/download?bytes={size}"))
        assert got.body == direct.body
        # A body that is complete when the head is sent gets a length.
        assert (got.header("Content-Length") is None) <= in_chunks


# Responses of the proxy.


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (request("GET", "/oauth2/x"), True),
        (request("HEAD", "/oauth2/x"), True),
        (request("POST", "/oauth2/x", body=b"all here"), True),
        (request("POST", "/oauth2/x", "Content-Length: 100"), False),
        (request("GET", "/oauth2/x", "Connection: close"), False),
        (request("GET", "/oauth2/x").replace(b"1.1", b"1.0"), False),
        (
            request("GET", "/oauth2/x", "Connection: keep-alive").replace(b"1.1", b"1.0"),
            True,
        ),
    ],
    ids=["GET", "HEAD", "whole body", "half a body", "close", "1.0", "1.0 kept"],
)
async def test_refusal_keeps_connection_if_request_is_complete(data: bytes, *, keeps: bool) -> None:
    """It has a transaction id; an unread body closes the connection."""
    async with proxy_before(*respond_to_all()) as app, connect(app) as wire:
        got = await wire.ask(data)
        assert got.status == 403
        assert got.header("transactionId")
        assert got.header("Cache-Control") == "no-store"
        assert got.header("x-proxy-error-source") == "caller"
        assert bool(got.body) != data.startswith(b"HEAD")
        if keeps:
            old = b"HTTP/1.0" in data
            assert got.header("Connection") == ("keep-alive" if old else None)
            assert (await wire.ask()).status == 200
        else:
            assert got.header("Connection") == "close"
            assert await wire.read_to_end() == b""


@pytest.mark.parametrize(
    ("kind", "request_data", "overrides"),
    [
        ("text/event-stream", GET, {}),
        ("text/event-stream", OLD, {}),
        ("application/json", GET, {"rewrite_links": "true"}),
        ("application/json", request("POST", "/x", body=b"{}"), {}),
    ],
    ids=["events", "to an HTTP/1.0 caller", "with links rewritten", "POST"],
)
async def test_head_does_not_wait_for_the_body(
    kind: str, request_data: bytes, overrides: dict[str, Any]
) -> None:
    """A caller reads the head of a stream although the first block comes much later."""
    head = response_head(
        b"200 OK", b"Content-Type: " + kind.encode(), b"Transfer-Encoding: chunked"
    )
    script = [read(), send(head), wait(), send(b"2\r\n{}\r\n0\r\n\r\n"), hold()]
    async with (
        ScriptedUpstream(script) as upstream,
        running(upstream.url, bearer_token="scripted", **overrides) as app,
        connect(app) as wire,
    ):
        await wire.send(request_data)
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert not upstream.may_continue.is_set()
        upstream.may_continue.set()
        rest = await (
            wire.reader.readuntil(b"0\r\n\r\n") if request_data != OLD else wire.read_to_end()
        )
        assert rest == (b"{}" if request_data == OLD else b"2\r\n{}\r\n0\r\n\r\n")


async def test_block_that_is_kept_back_does_not_hold_the_head() -> None:
    """While links are rewritten, a block may be a part of a link; the head goes out before it."""
    head = response_head(
        b"200 OK", b"Content-Type: application/json", b"Transfer-Encoding: chunked"
    )
    async with ScriptedUpstream(
        [read(), send(head + b'1\r\n"\r\n'), wait(), send(b'1\r\n"\r\n0\r\n\r\n'), hold()]
    ) as upstream:
        settings: dict[str, Any] = {"bearer_token": "scripted", "rewrite_links": "true"}
        async with running(upstream.url, **settings) as app, connect(app) as wire:
            await wire.send(GET)
            await wire.reader.readuntil(b"\r\n\r\n")
            upstream.may_continue.set()
            body = await wire.reader.readuntil(b"0\r\n\r\n")
            assert body.count(b'"') == 2


async def test_draining_closes_connections() -> None:
    """Each response has ``Connection: close``."""
    async with proxy_before(*respond_to_all()) as app:
        async with connect(app) as wire:
            assert (await wire.ask()).header("Connection") is None
            app.forwarder._writer.draining = True
            got = await wire.ask()
            assert (got.status, got.header("Connection")) == (200, "close")
            assert await wire.read_to_end() == b""
        async with connect(app) as wire:
            assert (await wire.ask(request("GET", "/oauth2/x"))).header("Connection") == "close"
