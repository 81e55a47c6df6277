"""The upstream connection, against a scripted raw server."""

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from proxy.errors import CallerError, UpstreamError, kinds
from proxy.upstream.connection import HIGH_WATER, Connection, ConnectionState
from proxy.upstream.response_parser import MAX_HEAD
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support.running import until
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    chunked,
    close,
    forever,
    hold,
    ok,
    read,
    read_head,
    read_rest,
    reset,
    respond_to_all,
    response_head,
    send,
    sleep,
    wait,
)

EVERY_LOOP = True

# Tests that do not depend on the loop run on one.
one_loop = pytest.mark.asyncio(loop_factories=["asyncio"])

GET = b"GET /v1/accounts HTTP/1.1\r\nHost: bank\r\n\r\n"
QUICK = UpstreamSettings(first_byte_timeout=0.4, idle_timeout=0.4, total_timeout=5.0)


@dataclass
class ReceivedResponse:
    """What was received over a connection."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


@asynccontextmanager
async def connected(
    script: Sequence[ScriptStep],
    settings: UpstreamSettings = UpstreamSettings(),  # noqa: B008 - frozen
) -> AsyncIterator[tuple[Connection, ScriptedUpstream]]:
    """Open one connection to an upstream that follows ``script``."""
    loop = asyncio.get_running_loop()
    async with ScriptedUpstream(script) as upstream:
        _, connection = await loop.create_connection(
            lambda: Connection(loop, settings), "127.0.0.1", upstream.port
        )
        try:
            yield connection, upstream
        finally:
            connection.abort()
            await asyncio.sleep(0)


async def ask(
    connection: Connection, head: bytes = GET, *, bodiless: bool = False, total: float = 10.0
) -> ReceivedResponse:
    """Run one complete exchange."""
    connection.start(head, bodiless=bodiless, total_at=asyncio.get_running_loop().time() + total)
    response = await connection.wait_for_head()
    body = b""
    while block := await connection.read():
        body += block
    return ReceivedResponse(response.status, response.reason, response.headers, body)


async def fails(connection: Connection, *, total: float = 10.0) -> UpstreamError:
    """Run one exchange that must fail; return its error."""
    with pytest.raises(UpstreamError) as caught:
        await ask(connection, total=total)
    assert not connection.is_reusable
    return caught.value


# Valid responses.


async def test_sized_response() -> None:
    """Status, reason, headers and body arrive as sent, and the connection is reusable."""
    script = [read(), send(ok(b"hello", b"X-One: 1", b"x-one: 2")), hold()]
    async with connected(script) as (connection, upstream):
        got = await ask(connection)
        assert (got.status, got.reason, got.body) == (200, b"OK", b"hello")
        assert got.headers == [(b"Content-Length", b"5"), (b"X-One", b"1"), (b"x-one", b"2")]
        assert upstream.requests == [GET]
        assert connection.is_reusable


async def test_chunked_response_drops_trailers() -> None:
    """Chunks are joined; trailers do not become headers."""
    body = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: no\r\n\r\n"
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked")
    async with connected([read(), send(head + body), hold()]) as (connection, _):
        got = await ask(connection)
        assert got.body == b"hello world"
        assert got.headers == [(b"Transfer-Encoding", b"chunked")]
        assert connection.is_reusable


@pytest.mark.parametrize("data", [ok(b"hello"), chunked(b"hel", b"lo")], ids=["sized", "chunked"])
async def test_response_in_any_pieces(data: bytes) -> None:
    """The result does not depend on how the bytes are split."""
    blocks = [data[at : at + 1] for at in range(len(data))]
    async with connected([read(), send(*blocks), hold()]) as (connection, _):
        assert (await ask(connection)).body == b"hello"


async def test_close_delimited_response() -> None:
    """Without a length, EOF ends the body (RFC 9112 section 6.3)."""
    script = [read(), send(response_head(b"200 OK"), b"all there is"), close()]
    async with connected(script) as (connection, _):
        assert (await ask(connection)).body == b"all there is"
        assert not connection.is_reusable


async def test_body_is_not_decoded() -> None:
    """A gzip body is passed as received."""
    body = gzip.compress(b"activities")
    script = [read(), send(ok(body, b"Content-Encoding: gzip")), hold()]
    async with connected(script) as (connection, _):
        assert (await ask(connection)).body == body


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_status_without_a_body(status: bytes) -> None:
    """204 and 304 end with their head, whatever length they have."""
    headers = () if status.startswith(b"204") else (b"Content-Length: 7",)
    async with connected([forever(read(), send(response_head(status, *headers)))]) as (
        connection,
        _,
    ):
        assert (await ask(connection)).body == b""
        assert connection.is_reusable
        assert (await ask(connection)).status == int(status[:3])


@pytest.mark.parametrize("framing", [b"Content-Length: 7", b"Transfer-Encoding: chunked"])
async def test_response_to_head(framing: bytes) -> None:
    """It has a length and no body; the connection is reusable."""
    script = [read(), send(response_head(b"200 OK", framing)), read(), send(ok(b"next")), hold()]
    async with connected(script) as (connection, _):
        got = await ask(connection, b"HEAD / HTTP/1.1\r\nHost: bank\r\n\r\n", bodiless=True)
        assert (got.status, got.body) == (200, b"")
        assert connection.is_reusable
        connection.mark_idle(asyncio.get_running_loop().time())
        assert (await ask(connection)).body == b"next"


@pytest.mark.parametrize(
    "interim",
    [
        response_head(b"100 Continue"),
        response_head(b"102 Processing") + response_head(b"103 Early Hints", b"Link: </a.css>"),
        response_head(b"103 Early Hints", b"Content-Length: 3"),
    ],
)
async def test_interim_responses_are_dropped(interim: bytes) -> None:
    """Nothing of a 1xx remains in the final response."""
    async with connected([read(), send(interim, ok(b"final")), hold()]) as (connection, _):
        got = await ask(connection)
        assert (got.status, got.reason, got.body) == (200, b"OK", b"final")
        assert got.headers == [(b"Content-Length", b"5")]


async def test_white_space_around_a_value_is_ignored() -> None:
    """A length or coding with trailing spaces is valid."""
    chunks = response_head(b"200 OK", b"Transfer-Encoding: chunked  ") + b"0\r\n\r\n"
    sized = response_head(b"200 OK", b"Content-Length: 2 ") + b"hi"
    async with connected([read(), send(chunks), read(), send(sized), hold()]) as (connection, _):
        assert (await ask(connection)).body == b""
        assert connection.is_reusable
        assert (await ask(connection)).body == b"hi"


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (response_head(b"200 OK", b"Content-Length: 0"), True),
        (response_head(b"200 OK", b"Content-Length: 0", b"Connection: close"), False),
        (response_head(b"200 OK", b"Content-Length: 0", b"Connection: Close, X"), False),
        (response_head(b"200 OK", b"Content-Length: 0").replace(b"1.1", b"1.0"), False),
        (
            response_head(b"200 OK", b"Content-Length: 0", b"Connection: keep-alive").replace(
                b"1.1", b"1.0"
            ),
            True,
        ),
        (
            response_head(
                b"200 OK", b"Transfer-Encoding: chunked", b"Connection: keep-alive"
            ).replace(b"1.1", b"1.0")
            + b"0\r\n\r\n",
            False,
        ),
    ],
    ids=["1.1", "close", "close among others", "1.0", "1.0 keep-alive", "1.0 in chunks"],
)
async def test_reuse_by_connection_header_and_version(head: bytes, reusable: bool) -> None:
    """RFC 9112 section 9.3."""
    async with connected([read(), send(head), hold()]) as (connection, _):
        await ask(connection)
        assert connection.is_reusable is reusable


async def test_trailers_can_prevent_reuse() -> None:
    """A connection is not reused when the parser stops at a trailer."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked")
    body = b"2\r\nhi\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n"
    async with connected([read(), send(head + body), hold()]) as (connection, _):
        assert (await ask(connection)).body == b"hi"
        assert not connection.is_reusable


# Invalid responses.

MALFORMED = {
    "length and chunked": response_head(
        b"200 OK", b"Content-Length: 3", b"Transfer-Encoding: chunked"
    ),
    "chunked and length": response_head(
        b"200 OK", b"Transfer-Encoding: chunked", b"Content-Length: 3"
    ),
    "two equal lengths": response_head(b"200 OK", b"Content-Length: 3", b"Content-Length: 3"),
    "two lengths": response_head(b"200 OK", b"Content-Length: 3", b"Content-Length: 30"),
    "list of lengths": response_head(b"200 OK", b"Content-Length: 3, 3"),
    "signed length": response_head(b"200 OK", b"Content-Length: +3"),
    "huge length": response_head(b"200 OK", b"Content-Length: " + b"9" * 30),
    "empty length": response_head(b"200 OK", b"Content-Length: "),
    "NUL in a header": response_head(b"200 OK", b"X: a\0b", b"Content-Length: 3"),
    "control byte in a header": response_head(b"200 OK", b"X: a\x01b", b"Content-Length: 3"),
    "control byte in the reason": response_head(b"200 O\x01K", b"Content-Length: 3"),
    "bare CR in a header": response_head(b"200 OK", b"X: a\rb", b"Content-Length: 3"),
    "bare LF in a header": response_head(b"200 OK", b"X: a\nb: c", b"Content-Length: 3"),
    "fold": response_head(b"200 OK", b"X: a", b" b", b"Content-Length: 3"),
    "no colon": response_head(b"200 OK", b"Nonsense", b"Content-Length: 3"),
    "empty name": response_head(b"200 OK", b": 3"),
    "gzip coding": response_head(b"200 OK", b"Transfer-Encoding: gzip"),
    "gzip, chunked": response_head(b"200 OK", b"Transfer-Encoding: gzip, chunked"),
    "gzip and chunked": response_head(
        b"200 OK", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"
    ),
    "chunked twice": response_head(
        b"200 OK", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"
    ),
    "tab behind the coding": response_head(b"200 OK", b"Transfer-Encoding: chunked\t"),
    "empty coding": response_head(b"200 OK", b"Transfer-Encoding: "),
    "xchunked": response_head(b"200 OK", b"Transfer-Encoding: xchunked"),
    "unasked 101": response_head(b"101 Switching", b"Connection: upgrade", b"Upgrade: websocket"),
    "unasked 101 without upgrade": response_head(b"101 Switching"),
    "status 99": response_head(b"99 Low", b"Content-Length: 3"),
    "status 099": response_head(b"099 Low", b"Content-Length: 3"),
    "status 600": response_head(b"600 High", b"Content-Length: 3"),
    "status 2000": response_head(b"2000 Long", b"Content-Length: 3"),
    "status abc": response_head(b"abc", b"Content-Length: 3"),
    "version 2.0": response_head(b"200 OK", b"Content-Length: 3").replace(b"HTTP/1.1", b"HTTP/2.0"),
    "version 0.9": response_head(b"200 OK", b"Content-Length: 3").replace(b"HTTP/1.1", b"HTTP/0.9"),
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "a request": GET,
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "endless line": b"HTTP/1.1 200 " + b"K" * (MAX_HEAD + 1),
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MAX_HEAD // 6 + 1),
    "endless interim answers": response_head(b"102 Processing") * (MAX_HEAD // 20),
}


@one_loop
@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_response_is_an_error(data: bytes) -> None:
    """Ambiguous responses fail before the caller gets a byte."""
    async with connected([read(), send(data), hold()]) as (connection, upstream):
        error = await fails(connection)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_MALFORMED, 502)
        assert not error.is_before_response
        await until(lambda: upstream.open == 0)


BAD_BODIES = {
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "space before": b" 3\r\nabc\r\n0\r\n\r\n",
    "empty size": b"\r\nabc\r\n0\r\n\r\n",
    "17 digits": b"00000000000000003\r\nabc\r\n".replace(b"0000", b"1111"),
    "bare LF": b"3\nabc\n0\n\n",
    "CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "no number": b"xyz\r\nabc\r\n0\r\n\r\n",
}


@one_loop
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_bad_chunk_fails_the_body(body: bytes) -> None:
    """Invalid chunk framing is an error."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked")
    async with connected([read(), send(head, body), hold()]) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_MALFORMED


async def test_endless_trailers_fail() -> None:
    """Trailers are bounded."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\n"
    trailers = b"X: y\r\n" * MAX_HEAD
    async with connected([read(), send(head, trailers), hold()]) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_MALFORMED


async def test_many_small_chunks_are_accepted() -> None:
    """The limits of head and trailers do not apply to chunk framing."""
    script = [read(), send(chunked(*[b"x"] * (MAX_HEAD // 4))), hold()]
    async with connected(script) as (connection, _):
        assert len((await ask(connection)).body) == MAX_HEAD // 4
        assert connection.is_reusable


@one_loop
@pytest.mark.parametrize(
    "data",
    [
        response_head(b"200 OK", b"Content-Length: 10") + b"abc",
        response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n",
        response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"5\r\nabc",
        response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n",
    ],
    ids=["sized", "no last chunk", "within a chunk", "no end of trailers"],
)
@pytest.mark.parametrize("ending", [close(), reset()], ids=["closed", "reset"])
async def test_truncated_body_is_an_error(data: bytes, ending: ScriptStep) -> None:
    """However the connection ended."""
    script = [read(), send(data), wait(), ending]
    async with connected(script) as (connection, upstream):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        assert await connection.read() == b"abc"
        upstream.may_continue.set()
        with pytest.raises(UpstreamError) as caught:
            await connection.read()
        assert caught.value.reason is kinds.UPSTREAM_TRUNCATED
        assert not connection.is_reusable


@pytest.mark.parametrize(
    "script",
    [
        [read(), close()],
        [read(), reset()],
        [read(), send(b"HTTP/1.1 200"), close()],
        [read(), send(response_head(b"100 Continue")), close()],
    ],
    ids=["closed", "reset", "within the head", "after an interim answer"],
)
async def test_connection_closed_before_the_head(script: Sequence[ScriptStep]) -> None:
    """It is a bad gateway, not a truncated response."""
    async with connected(script) as (connection, _):
        error = await fails(connection)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_CLOSED, 502)
        assert not error.is_before_response


# Unexpected bytes.


@pytest.mark.parametrize("early", [ok(b"not yours"), b"\r\n", b"x"])
async def test_response_before_its_request(early: bytes) -> None:
    """A byte on an unused connection closes it, and no request gets it."""
    async with connected([send(early), hold()]) as (connection, upstream):
        await until(lambda: upstream.open == 0)
        assert not connection.is_alive()
        assert (await fails(connection)).reason is kinds.UPSTREAM_CLOSED
        assert upstream.requests == []


BYTES_BEHIND = {
    "body on 204": response_head(b"204 No Content", b"Content-Length: 3") + b"abc",
    "chunked body on 204": response_head(b"204 No Content", b"Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "body on 304": response_head(b"304 Not Modified", b"Content-Length: 3") + b"abc",
    "second response": ok(b"") + ok(b"not yours"),
    "half a response": ok(b"") + b"HTTP/1.1 2",
}


@pytest.mark.parametrize("data", BYTES_BEHIND.values(), ids=BYTES_BEHIND)
async def test_bytes_behind_a_complete_response(data: bytes) -> None:
    """The response ends (RFC 9112 section 6.3); the bytes close the connection."""
    async with connected([read(), send(data), hold()]) as (connection, _):
        got = await ask(connection)
        assert (got.status, got.body) == (int(data[9:12]), b"")
        assert not connection.is_reusable


async def test_line_end_behind_a_response_closes_the_connection() -> None:
    """Llhttp would skip it."""
    script = [read(), send(ok(b"yours")), wait(), send(b"\r\n"), hold()]
    async with connected(script) as (connection, upstream):
        assert (await ask(connection)).body == b"yours"
        upstream.may_continue.set()  # before the exchange is released
        await until(lambda: upstream.open == 0)
        assert not connection.is_reusable


@pytest.mark.parametrize("late", [ok(b"not yours"), b"\r\n"])
async def test_late_second_response(late: bytes) -> None:
    """A byte on an idle connection closes it."""
    async with connected([read(), send(ok(b"yours")), wait(), send(late), hold()]) as (
        connection,
        upstream,
    ):
        assert (await ask(connection)).body == b"yours"
        connection.mark_idle(asyncio.get_running_loop().time())
        assert connection.is_alive()
        upstream.may_continue.set()
        await until(lambda: upstream.open == 0)
        assert not connection.is_alive()
        assert not connection.is_reusable


async def test_second_response_while_the_first_is_read() -> None:
    """The first response is complete; the connection is not reused."""
    script = [read(), send(ok(b"yours")), wait(), send(ok(b"not yours")), hold()]
    async with connected(script) as (connection, upstream):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        upstream.may_continue.set()
        await until(lambda: upstream.open == 0)
        assert await connection.read() == b"yours"
        assert await connection.read() == b""
        assert not connection.is_reusable


async def test_body_of_a_response_to_head() -> None:
    """A connection with such a body is not reused."""
    script = [
        read(),
        send(response_head(b"200 OK", b"Content-Length: 3")),
        wait(),
        send(b"abc"),
        hold(),
    ]
    async with connected(script) as (connection, upstream):
        await ask(connection, b"HEAD / HTTP/1.1\r\nHost: bank\r\n\r\n", bodiless=True)
        connection.mark_idle(asyncio.get_running_loop().time())
        upstream.may_continue.set()
        await until(lambda: upstream.open == 0)
        assert not connection.is_alive()


async def test_body_in_one_piece_with_a_response_to_head() -> None:
    """The same when head and body arrive together."""
    head = b"HEAD / HTTP/1.1\r\nHost: bank\r\n\r\n"
    async with connected([read(), send(ok(b"abc")), hold()]) as (connection, _):
        got = await ask(connection, head, bodiless=True)
        assert (got.status, got.body) == (200, b"")
        assert not connection.is_reusable


async def test_closed_idle_connection_is_detected() -> None:
    """A closed connection is not alive, even before the loop has read EOF."""
    async with connected([read(), send(ok()), wait(), close()]) as (connection, upstream):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        upstream.may_continue.set()
        await until(lambda: not connection.is_alive())


@one_loop
@pytest.mark.parametrize("last", [b"late", b""], ids=["bytes", "end"])
async def test_pending_input_is_detected(last: bytes) -> None:
    """The socket itself is checked, so unread bytes are seen."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        _, connection = await loop.create_connection(
            lambda: Connection(loop, UpstreamSettings()), sock=ours
        )
        assert connection.is_alive()
        theirs.sendall(last) if last else theirs.shutdown(socket.SHUT_WR)
        assert not connection.is_alive()
        connection.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("ending", [close(), reset()], ids=["closed", "reset"])
async def test_reused_connection_without_a_response_is_marked(ending: ScriptStep) -> None:
    """Only then the request may be repeated: the upstream has not begun to respond."""
    script = [read(), send(ok()), read(), ending]
    async with connected(script) as (connection, _):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        error = await fails(connection)
        assert (error.reason, error.is_before_response) == (kinds.UPSTREAM_CLOSED, True)


async def test_reused_connection_with_a_first_byte_is_marked() -> None:
    """After one byte the upstream may have processed the request."""
    script = [read(), send(ok()), read(), send(b"H"), close()]
    async with connected(script) as (connection, _):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        error = await fails(connection)
        assert (error.reason, error.is_before_response) == (kinds.UPSTREAM_CLOSED, False)


@one_loop
@pytest.mark.parametrize("ending", ["close", "reset", "data"])
async def test_start_on_a_new_connection_that_has_ended(ending: str) -> None:
    """Nothing is written and the error says so, even if the loop has not been told yet.

    Data alone is no end: with TLS it is session tickets.
    """
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, connection = await loop.create_connection(
            lambda: Connection(loop, UpstreamSettings()), *listener.getsockname()
        )
        theirs, _ = listener.accept()
    with theirs:
        if ending == "data":
            theirs.sendall(b"x")
            connection.start(GET, bodiless=False, total_at=loop.time() + 10)
            assert theirs.recv(65_536) == GET
        else:
            if ending == "reset":
                linger = struct.pack("ii", 1, 0)
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            theirs.close()
            with pytest.raises(UpstreamError) as caught:
                connection.start(GET, bodiless=False, total_at=loop.time() + 10)
            assert caught.value.is_unsent
    connection.abort()
    await asyncio.sleep(0)


# Deadlines.


async def test_silent_upstream_times_out() -> None:
    """The first-byte deadline gives a 504."""
    async with connected([read(), hold()], QUICK) as (connection, upstream):
        error = await fails(connection)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_FIRST_BYTE_TIMEOUT, 504)
        await until(lambda: upstream.open == 0)


async def test_slow_head_does_not_extend_the_deadline() -> None:
    """The first-byte deadline applies to the whole head."""
    blocks = [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100]
    async with connected([read(), send(*blocks, every=0.05)], QUICK) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_FIRST_BYTE_TIMEOUT


async def test_interim_responses_do_not_extend_the_deadline() -> None:
    """A request cannot be kept waiting by 1xx responses."""
    blocks = [response_head(b"102 Processing")] * 100
    async with connected([read(), send(*blocks, every=0.05)], QUICK) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_FIRST_BYTE_TIMEOUT


async def test_body_that_stops() -> None:
    """A silent upstream ends at the idle deadline."""
    script = [read(), send(response_head(b"200 OK", b"Content-Length: 9"), b"abc"), hold()]
    async with connected(script, QUICK) as (connection, _):
        error = await fails(connection)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_IDLE_TIMEOUT, 504)


@pytest.mark.parametrize(
    ("kind", "stream_idle", "ends"),
    [
        (b"text/event-stream", 5.0, False),
        (b"Text/Event-Stream; charset=utf-8", 5.0, False),
        (b"text/event-stream", None, True),
        (b"application/json", 5.0, True),
    ],
)
async def test_pause_in_a_stream_of_events(
    kind: bytes, stream_idle: float | None, *, ends: bool
) -> None:
    """A stream of server-sent events has an idle deadline of its own, if one is set."""
    settings = UpstreamSettings(idle_timeout=0.3, stream_idle=stream_idle)
    head = response_head(b"200 OK", b"Content-Type: " + kind, b"Content-Length: 9")
    script = [read(), send(head, b"data: ", b"1\n\n", every=0.6), hold()]
    async with connected(script, settings) as (connection, _):
        if ends:
            assert (await fails(connection)).reason is kinds.UPSTREAM_IDLE_TIMEOUT
        else:
            assert (await ask(connection)).body == b"data: 1\n\n"


async def test_stream_of_events_that_stops() -> None:
    """The deadline of streams may be the shorter one, and ends one that stops."""
    settings = UpstreamSettings(idle_timeout=60, stream_idle=0.3)
    head = response_head(b"200 OK", b"Content-Type: text/event-stream", b"Content-Length: 9")
    async with connected([read(), send(head, b"data"), hold()], settings) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_IDLE_TIMEOUT


async def test_slow_body_within_the_idle_deadline() -> None:
    """A slow body is received to its end."""
    head = response_head(b"200 OK", b"Content-Length: 10")
    script = [read(), send(head, *[b"x"] * 10, every=0.05), hold()]
    async with connected(script, QUICK) as (connection, _):
        assert (await ask(connection)).body == b"x" * 10


async def test_slow_body_past_the_total_deadline() -> None:
    """The total deadline ends it."""
    head = response_head(b"200 OK", b"Content-Length: 500")
    script = [read(), send(head, *[b"x"] * 500, every=0.02)]
    async with connected(script) as (connection, _):
        error = await fails(connection, total=0.3)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_TOTAL_TIMEOUT, 504)


async def test_total_deadline_before_the_head() -> None:
    """It applies to the head too."""
    async with connected([read(), hold()]) as (connection, _):
        assert (await fails(connection, total=0.1)).reason is kinds.UPSTREAM_TOTAL_TIMEOUT


async def test_deadline_of_an_earlier_exchange_is_cancelled() -> None:
    """It does not end a later exchange."""
    script = [read(), send(ok()), read(), sleep(0.2), send(ok(b"well")), hold()]
    async with connected(script, QUICK) as (connection, _):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        await asyncio.sleep(0.3)
        assert (await ask(connection)).body == b"well"
        await asyncio.sleep(QUICK.idle_timeout * 1.5)
        assert connection.is_reusable


async def test_slow_reader_pauses_the_idle_deadline() -> None:
    """A slow caller is not an upstream timeout."""
    size = HIGH_WATER * 16
    head = response_head(b"200 OK", b"Content-Length: %d" % size)
    script = [read(), send(head, b"x" * size), hold()]
    async with connected(script, QUICK) as (connection, _):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        await asyncio.sleep(QUICK.idle_timeout * 2)
        received = 0
        while block := await connection.read():
            received += len(block)
        assert received == size


async def test_slow_upload_pauses_the_first_byte_deadline() -> None:
    """A slow upload is not an upstream timeout."""
    head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: 2\r\n\r\n"
    async with connected([read(), send(ok(b"done")), hold()], QUICK) as (connection, _):
        connection.start(head, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        connection.awaits_caller = True
        await asyncio.sleep(QUICK.first_byte_timeout * 2)
        connection.awaits_caller = False
        await connection.write(b"ab")
        await connection.wait_for_head()
        assert await connection.read() == b"done"


# Flow control.


async def test_slow_caller_pauses_the_upstream() -> None:
    """A bounded part of a body is buffered."""
    size = 64 * HIGH_WATER
    script = [
        read(),
        send(response_head(b"200 OK", b"Content-Length: %d" % size), b"x" * size),
        hold(),
    ]
    async with connected(script) as (connection, _):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 30)
        await connection.wait_for_head()
        await until(lambda: connection._flow.is_reading_paused)
        await asyncio.sleep(0.05)
        # One read of the loop may follow the pause.
        assert connection._buffered_bytes <= 3 * HIGH_WATER
        received = 0
        while block := await connection.read():
            received += len(block)
        assert received == size
        assert connection.is_reusable


async def test_unread_complete_response_does_not_pause_the_connection() -> None:
    """A response whose last byte fills the buffer does not stop the next exchange."""
    script = [read(), send(ok(b"x" * (HIGH_WATER + 1))), read(), send(ok(b"next")), hold()]
    async with connected(script) as (connection, _):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        await until(lambda: connection.state is ConnectionState.COMPLETE)
        assert connection.is_reusable
        connection.mark_idle(asyncio.get_running_loop().time())
        assert (await ask(connection)).body == b"next"


async def test_response_before_the_request_is_written_closes_the_connection() -> None:
    """Another request would wait behind bytes that the upstream may never read."""
    size = 16 << 20  # more than the socket buffers hold
    head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: %d\r\n\r\n" % size
    async with connected([read_head(), send(ok(b"early")), wait()]) as (connection, _):
        assert (await ask(connection, head + b"x" * size)).body == b"early"
        assert not connection.is_reusable


async def test_upload_waits_for_a_slow_upstream() -> None:
    """Writing pauses while the upstream does not read."""
    size, blocks = 1 << 20, 32
    head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: %d\r\n\r\n" % (size * blocks)
    async with connected([read_head(), wait(), read_rest(size * blocks), hold()]) as (
        connection,
        upstream,
    ):
        connection.start(head, bodiless=False, total_at=asyncio.get_running_loop().time() + 30)
        written = 0

        async def upload() -> None:
            nonlocal written
            for _ in range(blocks):
                await connection.write(b"x" * size)
                written += 1

        task = asyncio.create_task(upload())
        await until(lambda: connection._flow.drained is not None)
        assert written < blocks
        upstream.may_continue.set()
        await task
        await connection.wait_for_head()
        assert await connection.read() == b"well"


async def test_waiting_upload_ends_with_the_connection() -> None:
    """The writer wakes up, and its next write raises the error."""
    async with connected([read_head(), wait(), reset()]) as (connection, upstream):
        head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: 90000000\r\n\r\n"
        connection.start(head, bodiless=False, total_at=asyncio.get_running_loop().time() + 30)

        async def upload() -> None:
            while True:
                await connection.write(b"x" * (1 << 20))

        task = asyncio.create_task(upload())
        await until(lambda: connection._flow.drained is not None)
        upstream.may_continue.set()
        with pytest.raises(UpstreamError) as caught:
            await task
        assert caught.value.reason is kinds.UPSTREAM_CLOSED


async def test_response_before_the_end_of_the_upload() -> None:
    """It is received while the body is still being sent."""
    head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: 10\r\n\r\n"
    script = [read_head(), send(response_head(b"413 Too Large", b"Content-Length: 0")), hold()]
    async with connected(script) as (connection, _):
        connection.start(head, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.write(b"abc")
        assert (await connection.wait_for_head()).status == 413


async def test_peek_consumes_nothing() -> None:
    """The block can still be read."""
    script = [
        read(),
        send(response_head(b"401 No", b"Content-Length: 9"), b"abc", b"defghi"),
        hold(),
    ]
    async with connected(script) as (connection, _):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        assert await connection.peek(4) == b"abcd"
        assert await connection.peek(100) == b"abcdefghi"
        body = b""
        while block := await connection.read():
            body += block
        assert body == b"abcdefghi"


# Local ends.


async def test_upload_error_is_raised_to_the_reader() -> None:
    """The reader gets the error that stopped the body."""
    async with connected([read_head(), hold()]) as (connection, upstream):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        waiting = asyncio.create_task(connection.wait_for_head())
        await until(lambda: upstream.requests)
        connection.fail(CallerError(kinds.BAD_BODY))
        with pytest.raises(CallerError):
            await waiting
        with pytest.raises(CallerError):
            await connection.write(b"more")
        await until(lambda: upstream.open == 0)


async def test_failed_upload_keeps_a_complete_response() -> None:
    """A response that has arrived stays readable."""
    async with connected([read_head(), send(ok(b"early")), hold()]) as (connection, _):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        connection.fail(CallerError(kinds.BAD_BODY))
        assert await connection.read() == b"early"
        assert await connection.read() == b""
        assert not connection.is_reusable


async def test_write_to_a_lost_connection_is_an_error() -> None:
    """The write raises instead of discarding data."""
    async with connected(respond_to_all()) as (connection, upstream):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        connection.abort()
        with pytest.raises(UpstreamError):
            await connection.write(b"x")
        await until(lambda: upstream.open == 0)
        with pytest.raises(UpstreamError):
            await connection.wait_for_head()


async def test_start_on_a_lost_connection_is_an_error() -> None:
    """A connection may be lost between checkout and use."""
    async with connected([close()]) as (connection, upstream):
        await until(lambda: upstream.open == 0)
        await until(lambda: not connection.is_alive())
        assert (await fails(connection)).reason is kinds.UPSTREAM_CLOSED
