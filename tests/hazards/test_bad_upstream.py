"""A bad upstream: every row of the catalogue, with the running proxy between it and a caller.

That no parser's trick works on the connection itself stands in tests/upstream; here it is what
a caller reads, what the metrics count, and that the next request is well.
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
    """A running proxy and the record of every request."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.records: list[RequestRecord] = []
        app.forwarder._on_finished = (self.records.append, *app.forwarder._on_finished)


@asynccontextmanager
async def proxy_before(
    *scripts: Sequence[ScriptStep], **overrides: Any
) -> AsyncIterator[tuple[ProxyBeforeBadUpstream, ScriptedUpstream]]:
    """Run a proxy before a bad upstream; at the end, a good request must come through."""
    async with (
        ScriptedUpstream(*scripts, respond_to_all()) as upstream,
        running(upstream.url, bearer_token="scripted", **(QUICK | overrides)) as app,
    ):
        here = ProxyBeforeBadUpstream(app)
        yield here, upstream
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
async def test_answer_that_is_none(data: bytes) -> None:
    """502 with its own reason; nothing of what the bank said; no second try."""
    async with proxy_before([read(), send(data), hold()]) as (here, upstream):
        got = await ask(here.app)
        assert (got.status, got.error) == (502, "upstream-malformed")
        assert got.header("x-proxy-error-source") == "upstream"
        assert here.records[0].reason == "upstream-malformed"
        assert upstream.connections == 1


async def test_answer_before_it_was_asked_for() -> None:
    """Reaches at most the request for which its connection was opened, never another."""
    async with proxy_before([send(ok(b"not yours")), read(), close()]) as (here, upstream):
        got = await ask(here.app)
        # Whether the request was out already when the bytes came is the network's secret.
        assert (got.status, got.body) == (200, b"not yours") or got.error == "upstream-closed"
        assert (await ask(here.app)).body == b"yes"
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
async def test_bytes_behind_a_complete_response(data: bytes, status: int, body: bytes) -> None:
    """The response is relayed, and the bytes behind it reach nobody."""
    async with proxy_before([read(), send(data), hold()]) as (here, upstream):
        got = await ask(here.app)
        assert (got.status, got.body, got.all("Transfer-Encoding")) == (status, body, [])
        assert (await ask(here.app)).body == b"yes"
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
    async with proxy_before(*scripts) as (here, upstream):
        for _ in cuts:
            got = await ask(here.app, request("POST", "/v1/events", body=b"x"))
            assert (got.status, got.body) == (204, b"")
        assert upstream.connections == len(cuts)


async def test_late_second_answer() -> None:
    """Is never given to the next request: its connection is closed."""
    script = [read(), send(ok(b"yours")), wait(), send(ok(b"not yours")), hold()]
    async with proxy_before(script) as (here, upstream), connect(here.app) as wire:
        assert (await wire.ask()).body == b"yours"
        upstream.may_continue.set()
        await until(lambda: here.app.pool._idle == [] or not here.app.pool._idle[0].is_alive())
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
async def test_body_cut_short(data: bytes, ending: ScriptStep, method: str) -> None:
    """The caller's connection is cut: it has had the head, and must not see a clean end."""
    async with proxy_before([read(), send(data), wait(), ending]) as (here, upstream):
        async with connect(here.app) as wire:
            await wire.send(request(method, "/"))
            await wire.reader.readuntil(b"abc")
            upstream.may_continue.set()
            assert await wire.ends_with_reset()
        (record,) = here.records
        assert (record.status, record.is_aborted) == (200, True)
        assert (record.source, record.reason) == ("upstream", "upstream-truncated")
        assert upstream.connections == 1


async def test_bad_chunk_behind_a_good_one() -> None:
    """The same: what is out cannot be called back."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n"
    async with proxy_before([read(), send(head), wait(), send(b"zz\r\n"), hold()]) as (
        here,
        upstream,
    ):
        async with connect(here.app) as wire:
            await wire.send(GET)
            await wire.reader.readuntil(b"abc")
            upstream.may_continue.set()
            assert await wire.ends_with_reset()
        assert here.records[0].reason == "upstream-malformed"


async def test_caller_without_chunks_sees_the_cut() -> None:
    """Even where the end of the connection is the end of the body, by a reset."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n"
    async with (
        proxy_before([read(), send(head), wait(), close()]) as (here, upstream),
        connect(here.app) as wire,
    ):
        await wire.send(GET.replace(b"1.1", b"1.0"))
        await wire.reader.readuntil(b"abc")
        upstream.may_continue.set()
        assert await wire.ends_with_reset()


async def test_upstream_that_gives_up_idle_connections() -> None:
    """Nobody notices, whatever the method: the end is seen before the next request is sent."""
    scripts = [[read(), send(ok(b"once")), close()]] * 6
    async with proxy_before(*scripts) as (here, _), connect(here.app) as wire:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"):
            await wire.send(request(method, "/"))
            got = await wire.read_response(bodiless=method == "HEAD")
            assert got.status == 200
            await until(lambda: here.app.pool._idle == [] or not here.app.pool._idle[0].is_alive())
        assert all(record.replays == 0 for record in here.records)


async def test_reset_on_first_use_of_a_reused_connection() -> None:
    """Safe methods go again, once, and are counted; others are not."""
    stale: list[ScriptStep] = [read(), send(ok()), read(), reset()]
    async with proxy_before(stale, stale, respond_to_all()) as (here, _), connect(here.app) as wire:
        assert (await wire.ask()).status == 200
        assert (await wire.ask(request("POST", "/"))).status == 502
        assert (await wire.ask()).status == 200
        assert (await wire.ask()).status == 200
        assert [record.replays for record in here.records] == [0, 0, 0, 1]
        exposition = here.app.metrics.exposition("")[0].decode()
        assert "candescent_proxy_replays_total 1.0" in exposition


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_reset_of_a_connection_that_was_waited_for(method: str, status: int) -> None:
    """One that came from the queue and had died is like any reused one: safe methods go again."""
    one_at_a_time = {"upstream": QUICK["upstream"] | {"max_connections": "1"}}
    stale: list[ScriptStep] = [read(), wait(), send(ok()), read(), reset()]
    async with proxy_before(stale, respond_to_all(), **one_at_a_time) as (here, upstream):
        first = asyncio.create_task(ask(here.app))
        await until(lambda: upstream.requests)
        second = asyncio.create_task(ask(here.app, request(method, "/")))
        await until(lambda: here.app.pool._waiting)
        upstream.may_continue.set()
        assert [(await first).status, (await second).status] == [200, status]
        assert [record.replays for record in here.records] == [0, int(status == 200)]


async def test_redirect_to_another_host() -> None:
    """Is passed back, not followed."""
    elsewhere = b"Location: http://127.0.0.1:1/steal"
    script = [read(), send(response_head(b"302 Found", elsewhere, b"Content-Length: 0")), close()]
    async with proxy_before(script) as (here, upstream):
        got = await ask(here.app)
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
async def test_upstream_that_fails(
    script: Sequence[ScriptStep], status: int, name: str | None
) -> None:
    """In time, and each with its own reason."""
    async with proxy_before(script) as (here, _):
        async with asyncio.timeout(DEADLINE):
            got = await ask(here.app)
        assert got.status == status
        assert name is None or got.error == name
        assert here.records[0].reason == got.error


async def test_upstream_that_stops_after_the_head() -> None:
    """The caller has the head and is cut when the idle time is over."""
    script = [read(), send(response_head(b"200 OK", b"Content-Length: 9")), hold()]
    async with proxy_before(script) as (here, _):
        async with connect(here.app) as wire, asyncio.timeout(DEADLINE):
            await wire.send(GET)
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            assert await wire.ends_with_reset()
        assert here.records[0].reason == "upstream-idle-timeout"


async def test_body_that_dribbles_for_ever() -> None:
    """Ends with the total deadline; the caller's connection is cut."""
    head = response_head(b"200 OK", b"Content-Length: 1000")
    async with proxy_before([read(), send(head, *[b"x"] * 1000, every=0.02)]) as (here, _):
        async with connect(here.app) as wire, asyncio.timeout(DEADLINE):
            await wire.send(GET)
            assert await wire.ends_with_reset()
        assert here.records[0].reason == "upstream-total-timeout"


async def test_nobody_listens() -> None:
    """A port that nobody has is told from one that does not answer."""
    async with proxy_before() as (here, upstream):
        pool = here.app.pool
        good = pool._origin
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            pool._origin = type(good)("127.0.0.1", port, None)
            got = await ask(here.app)
            assert (got.status, got.error) == (502, "upstream-connect")
            unused.listen(0)
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            got = await ask(here.app)
            assert (got.status, got.error) == (504, "upstream-connect-timeout")
            for filler in fillers:
                filler.close()
        pool._origin = type(good)("bank.invalid", 80, None)
        got = await ask(here.app)
        assert (got.status, got.error) == (502, "upstream-resolve")
        pool._origin = good
        assert upstream.connections == 0


async def test_moved_name() -> None:
    """Where the name of the bank points elsewhere, new connections go there, old ones grow old."""
    limits = {"upstream": {"max_age": "0.2", "max_idle_age": "0.1"}}
    async with (
        proxy_before(**limits) as (here, upstream),
        ScriptedUpstream(respond_to_all(b"moved")) as other,
    ):
        assert (await ask(here.app)).body == b"yes"
        pool = here.app.pool
        good = pool._origin
        pool._origin = type(good)("127.0.0.1", other.port, None)
        await asyncio.sleep(0.25)
        assert (await ask(here.app)).body == b"moved"
        pool._origin = good
        await until(lambda: pool.open_count == 0)
        assert upstream.connections == 1


@pytest.mark.parametrize(
    "case", ["expired", "another name", "another authority", "self-signed", "no TLS"]
)
async def test_certificate(case: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """502 that says what is wrong with it; no credential is sent."""
    ours = OpensslAuthority.make(tmp_path_factory.mktemp("ours"))
    theirs = OpensslAuthority.make(tmp_path_factory.mktemp("theirs"), "theirs")
    own = theirs.folder / "own.pem"
    own.write_bytes(theirs.file.read_bytes() + theirs.key.read_bytes())
    certificate, says, name = {
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
            assert says in got.json()["detail"]
            assert app.pool.open_count == 0
        assert not any(b"scripted" in sent for sent in upstream.requests)
