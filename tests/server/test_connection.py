"""Client connections: reading requests, order of responses, and closing.

tests/hazards has invalid and slow callers.
"""

import asyncio
import ssl
from pathlib import Path

import pytest

from proxy.server import connection
from proxy.server.connection import PARSED_BLOCK
from proxy.server.limits import CallerLimits
from proxy.server.memory import BLOCK_OVERHEAD
from proxy.server.messages import HIGH_WATER, Request, Response
from tests.server.listening import echo, listening, ok
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.raw_client import RawConnection, connect
from tests.support.running import DEADLINE, until

EVERY_LOOP = True

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    """Return a POST with a sized body."""
    lines = [b"POST /p HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(lines) + body


# Reading.


async def test_request_is_read_unchanged() -> None:
    """Method, target, version and headers are byte for byte the caller's."""
    seen: list[Request] = []

    async def note(request: Request) -> Response:
        seen.append(request)
        return ok()

    async with listening(note) as front, connect(front) as wire:
        await wire.ask(b"PATCH /a%zz?b#c HTTP/1.1\r\nHOST: x\r\nx-A:  b \r\nX-a:\r\n\r\n")
        await wire.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    first, second = seen
    assert (first.method, first.target, first.version) == ("PATCH", b"/a%zz?b#c", (1, 1))
    assert first.headers == [(b"HOST", b"x"), (b"x-A", b"b"), (b"X-a", b"")]
    assert first.keep_alive
    assert first.body.complete
    assert (second.version, second.keep_alive) == ((1, 0), True)


@pytest.mark.parametrize("size", [HIGH_WATER, HIGH_WATER + 1, 200_000])
async def test_unread_body_does_not_block_the_next_request(size: int) -> None:
    """A response may be sent without reading the body."""

    async def refuse(_: Request) -> Response:
        await asyncio.sleep(0.05)  # the body arrives, and reading is paused
        return ok(b"no")

    async with listening(refuse) as front, connect(front) as wire:
        for _ in range(2):
            await wire.send(post(b"x" * size))
            assert (await wire.read_response()).body == b"no"


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 1_000_000])
async def test_sized_body_is_read(size: int) -> None:
    """The next request follows it."""
    async with listening() as front, connect(front) as wire:
        await wire.send(post(b"x" * size) + GET)
        assert (await wire.read_response()).body == b"/p" + b"x" * size
        assert (await wire.read_response()).body == b"/a"


async def test_chunked_body_byte_by_byte_is_read() -> None:
    """Chunks may arrive in any pieces."""
    data = (
        b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    )
    async with listening() as front, connect(front) as wire:
        await wire.send(*[data[at : at + 1] for at in range(len(data))])
        assert (await wire.read_response()).body == b"/pabcde"
        assert (await wire.ask(GET)).body == b"/a"


async def test_empty_lines_between_requests_are_skipped() -> None:
    """RFC 9112 section 2.2."""
    async with listening() as front, connect(front) as wire:
        await wire.send(b"\r\n\r\n" + GET + b"\r\n" + GET)
        assert [(await wire.read_response()).status for _ in range(2)] == [200, 200]
        assert front.refused_errors == []


async def test_response_before_the_body_closes_the_connection() -> None:
    """A handler may respond early; nothing may follow."""

    async def hasty(_request: Request) -> Response:
        return ok(b"early")

    async with listening(hasty) as front, connect(front) as wire:
        await wire.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nabc")
        assert (await wire.read_response()).body == b"early"
        assert await wire.read_to_end() == b""


async def test_slow_handler_stops_the_caller() -> None:
    """A bounded part of an unread body is buffered, then reading pauses."""
    go = asyncio.Event()
    held: list[int] = []

    async def slow(request: Request) -> Response:
        await go.wait()
        held.append(request.body.buffered_bytes)
        return await echo(request)

    size = 64 * HIGH_WATER
    async with listening(slow) as front, connect(front) as wire:
        sending = asyncio.create_task(wire.send(post(b"x" * size)))
        await asyncio.sleep(0.2)
        assert not sending.done()
        go.set()
        assert len((await wire.read_response()).body) == size + 2
        await sending
        assert held[0] <= HIGH_WATER + 262_144  # and one read of the loop


# Order.


async def test_pipelined_requests_are_answered_in_order() -> None:
    """A slow first request delays the second."""
    running: list[bytes] = []

    async def slow_first(request: Request) -> Response:
        running.append(request.target)
        assert len(running) == 1
        await asyncio.sleep(0.05 if request.target == b"/1" else 0)
        running.remove(request.target)
        return ok(request.target)

    async with listening(slow_first) as front, connect(front) as wire:
        await wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5)))
        assert [(await wire.read_response()).body for _ in range(5)] == [
            b"/%d" % n for n in range(5)
        ]


async def test_many_pipelined_requests_are_answered() -> None:
    """A caller may send any number ahead."""
    async with listening() as front, connect(front) as wire:
        sending = asyncio.create_task(wire.send(GET * 5000))
        for _ in range(5000):
            assert (await wire.read_response()).status == 200
        await sending
        assert front.refused_errors == []


async def test_nothing_is_read_while_a_request_is_served() -> None:
    """Requests sent ahead wait in the socket, not in memory."""
    may_respond = asyncio.Event()

    async def wait(request: Request) -> Response:
        await may_respond.wait()
        return ok(request.target)

    big = b"GET /%d HTTP/1.1\r\nHost: x\r\n" + b"X: %b\r\n" % (b"x" * 8000) * 7 + b"\r\n"
    requests = [big % number for number in range(62)]
    async with listening(wait) as front, connect(front) as wire:
        await wire.send(GET)
        await until(lambda: any(not one.is_waiting for one in front.server._connections))
        (connection,) = front.server._connections
        sending = asyncio.create_task(wire.send(*requests))
        await until(lambda: connection._flow.is_reading_paused)
        assert len(connection._queue) == 0
        assert len(connection._unread) <= 262_144  # one read of the loop
        may_respond.set()
        assert (await wire.read_response()).body == b"/a"
        for number in range(62):
            assert (await wire.read_response()).body == b"/%d" % number
        await sending
        assert not connection._flow.is_reading_paused


async def test_tiny_chunks_are_parsed_as_the_bank_takes_them() -> None:
    """A body is parsed no further than what may be buffered; the rest stays unread, in order."""
    chunks = b"".join(b"2\r\n%02x\r\n" % (number % 256) for number in range(60_000))
    taken: list[bytes] = []
    may_read = asyncio.Event()

    async def slow(request: Request) -> Response:
        await may_read.wait()
        while block := await request.body.read():
            taken.append(block)
        return ok()

    head = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with listening(slow) as front, connect(front) as wire:
        sending = asyncio.create_task(wire.send(head + chunks + b"0\r\n\r\n" + GET))
        await until(lambda: any(one._unread for one in front.server._connections))
        (connection,) = front.server._connections
        incoming = connection._incoming
        assert incoming is not None
        block = PARSED_BLOCK // 7 * (BLOCK_OVERHEAD + 2)
        assert incoming.body.buffered_bytes <= HIGH_WATER + block
        may_read.set()
        assert (await wire.read_response()).status == 200
        assert (await wire.read_response()).status == 200
        await sending
    assert b"".join(taken) == b"".join(b"%02x" % (number % 256) for number in range(60_000))


@pytest.mark.parametrize("body", [b"", b"x" * 50, b"x" * 3000])
async def test_held_bytes_are_those_of_the_queue(body: bytes) -> None:
    """They are not added up anew for each look, but the sum is the same at every request."""
    differences: list[int] = []

    async def compare(_request: Request) -> Response:
        (connection,) = front.server._connections
        held = len(connection._unread) + connection._parser.head_bytes
        for one in (*connection._queue, connection._served):
            assert isinstance(one, Request)
            held += one.body.buffered_bytes
            held += one.head_bytes if one is not connection._served else 0
        differences.append(connection.unserved_bytes - held)
        return ok()

    async with listening(compare) as front, connect(front) as wire:
        await wire.send(post(body) * 40)
        for _ in range(40):
            assert (await wire.read_response()).status == 200
    assert differences == [0] * 40


async def test_reset_behind_pipelined_requests_is_noticed() -> None:
    """It is noticed although reading is paused."""

    async def never(_request: Request) -> Response:
        await asyncio.Event().wait()
        return ok()

    async with listening(never) as front, connect(front) as wire:
        await wire.send(GET)
        await until(lambda: any(not one.is_waiting for one in front.server._connections))
        await wire.send(GET)
        (connection,) = front.server._connections
        await until(lambda: connection._flow.is_reading_paused)
        wire.reset()
        await until(lambda: not front.server._connections)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * 100_000, b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 9000, b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 99, b"X: y\r\nX: y\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 8000, b"\r\n\r\n", 200),
    ],
    ids=["header", "target", "number", "within the limits"],
)
async def test_size_of_head_does_not_depend_on_pieces(
    first: bytes, second: bytes, status: int
) -> None:
    """Two pieces are measured like one."""
    for pieces in ([first + second], [first, second]):
        async with listening() as front, connect(front) as wire:
            await wire.send(*pieces, every=0.1)
            assert (await wire.read_response()).status == status


# Closing.


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: keep-alive, CLOSE\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ],
    ids=["close", "close among others", "1.0", "CONNECT"],
)
async def test_nothing_is_read_after_the_last_request(request_head: bytes) -> None:
    """A request with ``Connection: close`` is the last."""
    async with listening() as front, connect(front) as wire:
        await wire.send(request_head + GET)
        assert (await wire.read_response()).status == 200
        assert await wire.read_to_end() == b""
        assert front.refused_errors == []


async def test_handler_may_close_the_connection() -> None:
    """The response says whether another may follow."""

    async def last(_request: Request) -> Response:
        return ok(keep_alive=False)

    async with listening(last) as front, connect(front) as wire:
        await wire.send(GET)
        assert (await wire.read_response()).status == 200
        assert await wire.read_to_end() == b""


async def test_streamed_response() -> None:
    """A handler may write itself and return the rest."""

    async def stream(request: Request) -> Response:
        await request.connection.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await request.connection.deliver(b"def")
        return Response(keep_alive=True)

    async with listening(stream) as front, connect(front) as wire:
        for _ in range(2):
            assert (await wire.ask(GET)).body == b"abcdef"


async def test_writing_waits_for_a_slow_reader() -> None:
    """It goes on when the caller reads."""
    size, blocks = 1 << 20, 32
    written = 0

    async def stream(request: Request) -> Response:
        nonlocal written
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size * blocks)
        await request.connection.deliver(head)
        for _ in range(blocks):
            await request.connection.deliver(b"x" * size)
            written += 1
        return Response(keep_alive=True)

    async with listening(stream) as front, connect(front) as wire:
        wire.stop_reading()
        await wire.send(GET)
        await until(lambda: written)
        await asyncio.sleep(0.1)
        assert written < blocks
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]  # it can read too
        assert len((await wire.read_response()).body) == size * blocks


async def test_slow_reader_is_not_closed() -> None:
    """Only a reader that takes nothing during the whole timeout is."""

    async def large(_request: Request) -> Response:
        return ok(b"x" * 20_000_000)

    limits = CallerLimits(idle_timeout=0.3)
    async with listening(large, limits) as front, connect(front) as wire:
        await wire.send(GET)
        received = 0
        while received < 20_000_000:
            received += len(await wire.reader.read(1 << 20))
            await asyncio.sleep(0.02)


async def test_caller_that_does_not_read_is_counted() -> None:
    """And its connection is reset."""

    async def large(_request: Request) -> Response:
        return ok(b"x" * 20_000_000)

    async with listening(large, CallerLimits(idle_timeout=0.1)) as front, connect(front) as wire:
        await wire.send(GET)
        await until(lambda: front.server.refusals.counts["not_read"] == 1)
        await until(lambda: not front.server.connection_count)


async def test_writing_to_a_disconnected_caller_is_an_error() -> None:
    """It ends the handler, at once or at the next block."""
    ended = asyncio.Event()

    async def stream(request: Request) -> Response:
        try:
            while True:
                await request.connection.deliver(b"x" * 100_000)
        finally:
            ended.set()

    async with listening(stream) as front, connect(front) as wire:
        await wire.send(GET)
        await wire.reader.readexactly(1000)
        wire.reset()
        async with asyncio.timeout(DEADLINE):
            await ended.wait()
        await until(lambda: front.server.connection_count == 0)


async def test_handler_is_cancelled_when_its_caller_disconnects() -> None:
    """Nobody would read the response."""
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def forever(_request: Request) -> Response:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return ok()

    async with listening(forever) as front, connect(front) as wire:
        await wire.send(GET)
        await started.wait()
        wire.reset()
        async with asyncio.timeout(DEADLINE):
            await cancelled.wait()


async def test_disconnect_fails_the_body() -> None:
    """An incomplete body is never taken for complete."""
    recorded: list[Exception] = []
    started = asyncio.Event()

    async def read(request: Request) -> Response:
        reading = asyncio.create_task(request.body.read())
        await asyncio.sleep(0)
        started.set()
        try:
            await asyncio.wait([reading])
        finally:
            await asyncio.wait([reading])
            error = reading.exception()
            assert isinstance(error, Exception)
            recorded.append(error)
        return ok()

    async with listening(read) as front, connect(front) as wire:
        await wire.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        await started.wait()
        wire.reset()
        await until(lambda: recorded)
        assert isinstance(recorded[0], ConnectionError)


async def test_reset_ends_the_connection_with_a_reset() -> None:
    """Even if all bytes have been written."""

    async def cut(request: Request) -> Response:
        await request.connection.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        request.connection.reset()
        return Response(keep_alive=False)

    async with listening(cut) as front, connect(front) as wire:
        await wire.send(GET)
        assert await wire.ends_with_reset()
        await until(lambda: front.server.connection_count == 0)


async def test_refused_caller_that_keeps_sending_gets_the_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The response is not lost in a reset; the connection closes soon after."""
    monkeypatch.setattr(connection, "LINGER", 0.3)
    async with listening() as front, connect(front) as wire:
        await wire.send(b"nonsense\r\n\r\n")
        for _ in range(50):
            await wire.send(b"x" * 10_000)
        assert (await wire.read_response()).status == 400
        assert await wire.read_to_end() == b""
        await until(lambda: front.server.connection_count == 0)


async def test_caller_with_unread_body_gets_the_response() -> None:
    """The rest of its body is discarded."""

    async def refuse(request: Request) -> Response:
        await until(lambda: request.body.buffered_bytes > HIGH_WATER)
        return ok(b"no")

    async with listening(refuse) as front, connect(front) as wire:
        await wire.send(post(b"x" * 20_000_000))
        assert (await wire.read_response()).body == b"no"
        assert await wire.read_to_end() == b""


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """The authority of the servers' certificates."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: OpensslAuthority) -> Path:
    """A certificate for the tests' servers."""
    return authority.issue("front", "IP:127.0.0.1")


async def test_tls_request_has_the_client_certificate(
    authority: OpensslAuthority, certificate: Path
) -> None:
    """A request over TLS is marked as such."""
    seen: list[tuple[bool, object]] = []

    async def note(request: Request) -> Response:
        seen.append((request.connection.is_tls, request.connection.caller.names))
        return await echo(request)

    server = server_context(certificate)
    server.load_verify_locations(authority.file)
    server.verify_mode = ssl.CERT_OPTIONAL
    client = ssl.create_default_context(cafile=str(authority.file))
    client.load_cert_chain(authority.issue("caller", "DNS:app.test", file="caller"))
    async with listening(note, tls=server) as front:
        address = front.data_address
        wire = RawConnection(*await asyncio.open_connection(address.host, address.port, ssl=client))
        assert (await wire.ask(post(b"x" * 300_000))).body == b"/p" + b"x" * 300_000
        assert (await wire.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")).status == 200
        assert await wire.read_to_end() == b""
        wire.close()
        await wire.writer.wait_closed()
    secure, shown = seen[0]
    assert secure
    assert shown == ("app.test",)


async def test_plaintext_request_has_no_certificate(certificate: Path) -> None:
    """A plaintext request is marked as such."""

    async def note(request: Request) -> Response:
        assert not request.connection.is_tls
        assert request.connection.caller.names == ()
        assert request.connection.caller.address == "127.0.0.1"
        return ok()

    async with listening(note) as front, connect(front) as wire:
        assert (await wire.ask(GET)).status == 200
