"""A faulty upstream, seen by a caller of the running proxy.

tests/upstream tests the connection itself; these tests check the caller's response, the metrics,
and that the next request works.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.forwarding.record import RequestRecord
from proxy.runtime.app import App
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.raw_client import GET, ask, connect, request
from tests.support.running import DEADLINE, running, until
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    close,
    hold,
    ok,
    read,
    reset,
    respond_to_all,
    response_head,
    send,
    wait,
)

QUICK = {
    "upstream": {
        "connect_timeout": "0.5",
        "first_byte_timeout": "0.3",
        "idle_timeout": "0.3",
        "total_timeout": "1.5",
    }
}


class ProxyBeforeBadUpstream:
    """A running proxy and the records of its requests."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.records: list[RequestRecord] = []
        app.forwarder._on_finished = (self.records.append, *app.forwarder._on_finished)


@asynccontextmanager
async def proxy_before(
    *scripts: Sequence[ScriptStep], **overrides: Any
) -> AsyncIterator[tuple[ProxyBeforeBadUpstream, ScriptedUpstream]]:
    """Run a proxy in front of a faulty upstream; a last request must succeed."""
    async with (
        ScriptedUpstream(*scripts, respond_to_all()) as upstream,
        running(upstream.url, bearer_token="scripted", **(QUICK | overrides)) as app,
    ):
        proxy = ProxyBeforeBadUpstream(app)
        yield proxy, upstream
        upstream.may_continue.set()
        assert (await ask(app)).body == b"yes"
        await until(lambda: app.forwarder.in_flight == 0)
        assert app.pool.open_count == app.pool.idle_count
        for sent in upstream.requests:
            assert sent.count(b"Authorization: Bearer scripted\r\n") == 1


MALFORMED = {
    "length and chunked": response_head(
        b"200 OK", b"Content-Length: 3", b"Transfer-Encoding: chunked"
    ),
    "two lengths": response_head(b"200 OK", b"Content-Length: 3", b"Content-Length: 5"),
    "NUL in a header": response_head(b"200 OK", b"X: a\0b", b"Content-Length: 0"),
    "bad chunk": response_head(b"200 OK", b"Transfer-Encoding: chunked")
    + b"0x3\r\nabc\r\n0\r\n\r\n",
    "gzip coding": response_head(b"200 OK", b"Transfer-Encoding: gzip") + b"abc",
    "gzip and chunked": response_head(
        b"200 OK", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"
    ),
    "unasked 101": response_head(b"101 Switching", b"Connection: upgrade", b"Upgrade: websocket"),
    "status 99": response_head(b"99 Low", b"Content-Length: 0"),
    "status 099": response_head(b"099 Low", b"Content-Length: 0"),
    "status 600": response_head(b"600 High", b"Content-Length: 0"),
    "no HTTP": b"220 mail.test ESMTP\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_response_is_a_502(data: bytes) -> None:
    """With its own reason, without the bank's text, and without a retry."""
    async with proxy_before([read(), send(data), hold()]) as (proxy, upstream):
        got = await ask(proxy.app)
        assert (got.status, got.error) == (502, "upstream-malformed")
        assert got.header("x-proxy-error-source") == "upstream"
        assert proxy.records[0].reason == "upstream-malformed"
        assert upstream.connections == 1


async def test_response_before_its_request() -> None:
    """It reaches at most the request for which the connection was opened."""
    async with proxy_before([send(ok(b"not yours")), read(), close()]) as (proxy, upstream):
        got = await ask(proxy.app)
        # Whether the request was sent before the bytes arrived depends on the network.
        assert (got.status, got.body) == (200, b"not yours") or got.error == "upstream-closed"
        assert (await ask(proxy.app)).body == b"yes"
        assert upstream.connections == 2


@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        (response_head(b"204 No Content") + b"abc", 204, b""),
        (response_head(b"204 No Content", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 204, b""),
        (response_head(b"304 Not Modified", b"Content-Length: 3") + b"abc", 304, b""),
        (ok(b"one") + ok(b"two"), 200, b"one"),
    ],
    ids=["body on 204", "chunks on 204", "body on 304", "two responses"],
)
async def test_bytes_behind_a_complete_response_are_dropped(
    data: bytes, status: int, body: bytes
) -> None:
    """The response is forwarded, and the bytes reach nobody."""
    async with proxy_before([read(), send(data), hold()]) as (proxy, upstream):
        got = await ask(proxy.app)
        assert (got.status, got.body, got.all("Transfer-Encoding")) == (status, body, [])
        assert (await ask(proxy.app)).body == b"yes"
        assert upstream.connections == 2


@pytest.mark.parametrize("behind", [b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"])
async def test_chunks_behind_a_204_in_whatever_packets(behind: bytes) -> None:
    """The 204 is relayed wherever the network cuts its bytes, and its connection is not reused."""
    head = response_head(b"204 No Content", b"Transfer-Encoding: chunked")
    data = head + behind
    cuts = [*range(1, len(head), 9), *range(len(head), len(data))]
    scripts = [
        [read(), send(data[:cut]), wait(), send(data[cut:]), hold()]
        if cut >= len(head)
        else [read(), send(data[:cut], data[cut:]), hold()]
        for cut in cuts
    ]
    async with proxy_before(*scripts) as (proxy, upstream):
        for _ in cuts:
            got = await ask(proxy.app, request("POST", "/v1/events", body=b"x"))
            assert (got.status, got.body) == (204, b"")
        assert upstream.connections == len(cuts)


async def test_late_second_response_is_dropped() -> None:
    """Its connection is closed, and the next request does not get it."""
    script = [read(), send(ok(b"yours")), wait(), send(ok(b"not yours")), hold()]
    async with proxy_before(script) as (proxy, upstream), connect(proxy.app) as wire:
        assert (await wire.ask()).body == b"yours"
        upstream.may_continue.set()
        await until(lambda: proxy.app.pool._idle == [] or not proxy.app.pool._idle[0].is_alive())
        assert (await wire.ask()).body == b"yes"
        assert upstream.connections == 2


CUT = {
    "sized": response_head(b"200 OK", b"Content-Length: 10") + b"abc",
    "chunked": response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n",
    "within a chunk": response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"5\r\nabc",
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
@pytest.mark.parametrize("ending", [close(), reset()], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_truncated_body_resets_the_caller(
    data: bytes, ending: ScriptStep, method: str
) -> None:
    """The caller has the head and must not see a clean end."""
    async with proxy_before([read(), send(data), wait(), ending]) as (proxy, upstream):
        async with connect(proxy.app) as wire:
            await wire.send(request(method, "/"))
            await wire.reader.readuntil(b"abc")
            upstream.may_continue.set()
            assert await wire.ends_with_reset()
        (record,) = proxy.records
        assert (record.status, record.is_aborted) == (200, True)
        assert (record.source, record.reason) == ("upstream", "upstream-truncated")
        assert upstream.connections == 1


async def test_bad_chunk_behind_a_good_one_resets_the_caller() -> None:
    """What was sent cannot be withdrawn."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n"
    async with proxy_before([read(), send(head), wait(), send(b"zz\r\n"), hold()]) as (
        proxy,
        upstream,
    ):
        async with connect(proxy.app) as wire:
            await wire.send(GET)
            await wire.reader.readuntil(b"abc")
            upstream.may_continue.set()
            assert await wire.ends_with_reset()
        assert proxy.records[0].reason == "upstream-malformed"


async def test_http_1_0_caller_is_reset_too() -> None:
    """Otherwise EOF would look like the end of the body."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n"
    async with (
        proxy_before([read(), send(head), wait(), close()]) as (proxy, upstream),
        connect(proxy.app) as wire,
    ):
        await wire.send(GET.replace(b"1.1", b"1.0"))
        await wire.reader.readuntil(b"abc")
        upstream.may_continue.set()
        assert await wire.ends_with_reset()


async def test_upstream_that_closes_idle_connections() -> None:
    """No request fails, whatever its method: EOF is seen before sending."""
    scripts = [[read(), send(ok(b"once")), close()]] * 6
    async with proxy_before(*scripts) as (proxy, _), connect(proxy.app) as wire:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"):
            await wire.send(request(method, "/"))
            got = await wire.read_response(bodiless=method == "HEAD")
            assert got.status == 200
            await until(
                lambda: proxy.app.pool._idle == [] or not proxy.app.pool._idle[0].is_alive()
            )
        assert all(record.replays == 0 for record in proxy.records)


async def test_reset_on_reuse_is_retried_for_safe_methods() -> None:
    """Once, and counted."""
    stale: list[ScriptStep] = [read(), send(ok()), read(), reset()]
    async with (
        proxy_before(stale, stale, respond_to_all()) as (proxy, _),
        connect(proxy.app) as wire,
    ):
        assert (await wire.ask()).status == 200
        assert (await wire.ask(request("POST", "/"))).status == 502
        assert (await wire.ask()).status == 200
        assert (await wire.ask()).status == 200
        assert [record.replays for record in proxy.records] == [0, 0, 0, 1]
        exposition = proxy.app.metrics.exposition("")[0].decode()
        assert "candescent_proxy_replays_total 1.0" in exposition


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_reset_after_queueing_is_retried_for_safe_methods(method: str, status: int) -> None:
    """A connection from the queue counts as a reused one."""
    one_at_a_time = {"upstream": QUICK["upstream"] | {"max_connections": "1"}}
    stale: list[ScriptStep] = [read(), wait(), send(ok()), read(), reset()]
    async with proxy_before(stale, respond_to_all(), **one_at_a_time) as (proxy, upstream):
        first = asyncio.create_task(ask(proxy.app))
        await until(lambda: upstream.requests)
        second = asyncio.create_task(ask(proxy.app, request(method, "/")))
        await until(lambda: proxy.app.pool.waiting_count)
        upstream.may_continue.set()
        assert [(await first).status, (await second).status] == [200, status]
        assert [record.replays for record in proxy.records] == [0, int(status == 200)]


async def test_redirect_is_not_followed() -> None:
    """It is forwarded to the caller."""
    elsewhere = b"Location: http://127.0.0.1:1/steal"
    script = [read(), send(response_head(b"302 Found", elsewhere, b"Content-Length: 0")), close()]
    async with proxy_before(script) as (proxy, upstream):
        got = await ask(proxy.app)
        assert (got.status, got.header("Location")) == (302, "http://127.0.0.1:1/steal")
        assert upstream.connections == 1


@pytest.mark.parametrize(
    ("script", "status", "name"),
    [
        ([read(), hold()], 504, "upstream-first-byte-timeout"),
        ([read(), send(*[b"H"] * 100, every=0.05)], 502, "upstream-malformed"),
        (
            [read(), send(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100, every=0.05)],
            *(504, "upstream-first-byte-timeout"),
        ),
        ([read(), close()], 502, "upstream-closed"),
        ([read(), reset()], 502, "upstream-closed"),
        ([read(), send(response_head(b"200 OK", b"Content-Length: 9")), reset()], 502, None),
    ],
    ids=[
        *("says nothing", "dribbles nonsense", "dribbles", "closes", "resets"),
        "resets after the head",
    ],
)
async def test_failing_upstream_has_its_reason(
    script: Sequence[ScriptStep], status: int, name: str | None
) -> None:
    """In time, each with its own error."""
    async with proxy_before(script) as (proxy, _):
        async with asyncio.timeout(DEADLINE):
            got = await ask(proxy.app)
        assert got.status == status
        assert name is None or got.error == name
        assert proxy.records[0].reason == got.error


async def test_upstream_that_stops_after_the_head() -> None:
    """The caller has the head and is cut when the idle time is over."""
    script = [read(), send(response_head(b"200 OK", b"Content-Length: 9")), hold()]
    async with proxy_before(script) as (proxy, _):
        async with connect(proxy.app) as wire, asyncio.timeout(DEADLINE):
            await wire.send(GET)
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            assert await wire.ends_with_reset()
        assert proxy.records[0].reason == "upstream-idle-timeout"


async def test_endless_slow_body_ends_at_the_total_deadline() -> None:
    """The caller's connection is reset."""
    head = response_head(b"200 OK", b"Content-Length: 1000")
    async with proxy_before([read(), send(head, *[b"x"] * 1000, every=0.02)]) as (proxy, _):
        async with connect(proxy.app) as wire, asyncio.timeout(DEADLINE):
            await wire.send(GET)
            assert await wire.ends_with_reset()
        assert proxy.records[0].reason == "upstream-total-timeout"


async def test_closed_port_is_a_502() -> None:
    """It is distinguished from a silent port."""
    async with proxy_before() as (proxy, upstream):
        pool = proxy.app.pool
        good = pool._dialer.origin
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            pool._dialer.origin = type(good)("127.0.0.1", port, None)
            got = await ask(proxy.app)
            assert (got.status, got.error) == (502, "upstream-connect")
            unused.listen(0)
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            got = await ask(proxy.app)
            assert (got.status, got.error) == (504, "upstream-connect-timeout")
            for filler in fillers:
                filler.close()
        pool._dialer.origin = type(good)("bank.invalid", 80, None)
        got = await ask(proxy.app)
        assert (got.status, got.error) == (502, "upstream-resolve")
        pool._dialer.origin = good
        assert upstream.connections == 0


async def test_changed_address_is_used() -> None:
    """New connections use the new address of the name; old ones expire."""
    limits = {"upstream": {"max_age": "0.2", "max_idle_age": "0.1"}}
    async with (
        proxy_before(**limits) as (proxy, upstream),
        ScriptedUpstream(respond_to_all(b"moved")) as other,
    ):
        assert (await ask(proxy.app)).body == b"yes"
        pool = proxy.app.pool
        good = pool._dialer.origin
        pool._dialer.origin = type(good)("127.0.0.1", other.port, None)
        await asyncio.sleep(0.25)
        assert (await ask(proxy.app)).body == b"moved"
        pool._dialer.origin = good
        await until(lambda: pool.open_count == 0)
        assert upstream.connections == 1


@pytest.mark.parametrize(
    "case", ["expired", "another name", "another authority", "self-signed", "no TLS"]
)
async def test_certificate_error_is_a_502(
    case: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The error names the cause, and no credential is sent."""
    ours = OpensslAuthority.make(tmp_path_factory.mktemp("ours"))
    theirs = OpensslAuthority.make(tmp_path_factory.mktemp("theirs"), "theirs")
    own = theirs.folder / "own.pem"
    own.write_bytes(theirs.file.read_bytes() + theirs.key.read_bytes())
    certificate, expected, name = {
        "expired": (ours.issue("bank", "IP:127.0.0.1", days="-1"), "expired", "-expired"),
        "another name": (ours.issue("bank", "DNS:x.test", file="x"), "127.0.0.1", "-name"),
        "another authority": (theirs.issue("bank", "IP:127.0.0.1"), "issuer", "-untrusted"),
        "self-signed": (own, "self-signed", "-self-signed"),
        "no TLS": (None, "plain HTTP", "-plain-http"),
    }[case]
    tls = server_context(certificate) if certificate else None
    script = respond_to_all() if tls else [send(response_head(b"400 Bad Request")), close()]
    async with ScriptedUpstream(script, tls=tls) as upstream:
        url = f"https://127.0.0.1:{upstream.port}"
        settings: dict[str, Any] = {"upstream": {"ca_file": str(ours.file), "connect_timeout": "2"}}
        async with running(url, bearer_token="scripted", **settings) as app:
            got = await ask(app)
            assert got.status == 502
            assert got.error == f"upstream-tls{name}"
            assert expected in got.json()["detail"]
            assert app.pool.open_count == 0
        assert not any(b"scripted" in sent for sent in upstream.requests)
