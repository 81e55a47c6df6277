"""The connection to the upstream, against a raw server that does what a script says."""

import asyncio
import gzip
import socket
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

# What does not depend on the loop is tried on one.
one_loop = pytest.mark.asyncio(loop_factories=["asyncio"])

GET = b"GET /v1/accounts HTTP/1.1\r\nHost: bank\r\n\r\n"
QUICK = UpstreamSettings(first_byte_timeout=0.4, idle_timeout=0.4, total_timeout=5.0)


@dataclass
class Answer:
    """What came back over a connection."""

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
) -> Answer:
    """Run one exchange to its end."""
    connection.start(head, bodiless=bodiless, total_at=asyncio.get_running_loop().time() + total)
    response = await connection.wait_for_head()
    body = b""
    while block := await connection.read():
        body += block
    return Answer(response.status, response.reason, response.headers, body)


async def fails(connection: Connection, *, total: float = 10.0) -> UpstreamError:
    """Run one exchange that must fail; return how it did."""
    with pytest.raises(UpstreamError) as caught:
        await ask(connection, total=total)
    assert not connection.is_reusable
    return caught.value


# Good answers.


async def test_sized_answer() -> None:
    """Status, reason, headers and body arrive as they were sent, and the connection may go on."""
    script = [read(), send(ok(b"hello", b"X-One: 1", b"x-one: 2")), hold()]
    async with connected(script) as (connection, upstream):
        got = await ask(connection)
        assert (got.status, got.reason, got.body) == (200, b"OK", b"hello")
        assert got.headers == [(b"Content-Length", b"5"), (b"X-One", b"1"), (b"x-one", b"2")]
        assert upstream.requests == [GET]
        assert connection.is_reusable


async def test_chunked_answer_keeps_no_trailers() -> None:
    """Chunks are put together; what follows the last one is no header of the answer."""
    body = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: no\r\n\r\n"
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked")
    async with connected([read(), send(head + body), hold()]) as (connection, _):
        got = await ask(connection)
        assert got.body == b"hello world"
        assert got.headers == [(b"Transfer-Encoding", b"chunked")]
        assert connection.is_reusable


@pytest.mark.parametrize("data", [ok(b"hello"), chunked(b"hel", b"lo")], ids=["sized", "chunked"])
async def test_answer_byte_by_byte(data: bytes) -> None:
    """However the network cuts an answer up, it reads the same."""
    blocks = [data[at : at + 1] for at in range(len(data))]
    async with connected([read(), send(*blocks), hold()]) as (connection, _):
        assert (await ask(connection)).body == b"hello"


async def test_answer_until_close() -> None:
    """Without a length, the end of the connection is the end of the body; nothing follows."""
    script = [read(), send(response_head(b"200 OK"), b"all there is"), close()]
    async with connected(script) as (connection, _):
        assert (await ask(connection)).body == b"all there is"
        assert not connection.is_reusable


async def test_body_is_not_decoded() -> None:
    """A gzip body is passed as it is."""
    body = gzip.compress(b"activities")
    script = [read(), send(ok(body, b"Content-Encoding: gzip")), hold()]
    async with connected(script) as (connection, _):
        assert (await ask(connection)).body == body


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answer_that_never_has_a_body(status: bytes) -> None:
    """204 and 304 end with their head, whatever length they name."""
    headers = () if status.startswith(b"204") else (b"Content-Length: 7",)
    async with connected([forever(read(), send(response_head(status, *headers)))]) as (
        connection,
        _,
    ):
        assert (await ask(connection)).body == b""
        assert connection.is_reusable
        assert (await ask(connection)).status == int(status[:3])


@pytest.mark.parametrize("framing", [b"Content-Length: 7", b"Transfer-Encoding: chunked"])
async def test_answer_to_head(framing: bytes) -> None:
    """An answer to HEAD names a length and has no body; the connection goes on."""
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
async def test_interim_answers_are_dropped(interim: bytes) -> None:
    """Nothing of a 1xx is left in the answer that follows it."""
    async with connected([read(), send(interim, ok(b"final")), hold()]) as (connection, _):
        got = await ask(connection)
        assert (got.status, got.reason, got.body) == (200, b"OK", b"final")
        assert got.headers == [(b"Content-Length", b"5")]


async def test_white_space_round_a_value_is_not_part_of_it() -> None:
    """A length or coding with spaces behind it is still one."""
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
async def test_who_keeps_the_connection(head: bytes, reusable: bool) -> None:
    """The upstream's word on keeping the connection is believed, by its version's default."""
    async with connected([read(), send(head), hold()]) as (connection, _):
        await ask(connection)
        assert connection.is_reusable is reusable


async def test_trailers_have_a_say_in_reuse() -> None:
    """A trailer that makes the parser refuse what follows makes the connection unfit for it."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked")
    body = b"2\r\nhi\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n"
    async with connected([read(), send(head + body), hold()]) as (connection, _):
        assert (await ask(connection)).body == b"hi"
        assert not connection.is_reusable


# Answers that are none.

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
    "space before the colon": response_head(b"200 OK", b"Content-Length : 3"),
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
async def test_answer_that_is_none(data: bytes) -> None:
    """What two readers could understand differently is an error before anyone has seen a byte."""
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
async def test_bad_chunk(body: bytes) -> None:
    """A body whose chunks are not right never ends well."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked")
    async with connected([read(), send(head, body), hold()]) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_MALFORMED


async def test_endless_trailers() -> None:
    """Trailers are not collected, and not listened to for ever."""
    head = response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\n"
    trailers = b"X: y\r\n" * MAX_HEAD
    async with connected([read(), send(head, trailers), hold()]) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_MALFORMED


async def test_long_body_of_small_chunks_is_no_endless_head() -> None:
    """What bounds head and trailers does not bound the framing of a body."""
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
async def test_body_cut_short(data: bytes, ending: ScriptStep) -> None:
    """A body that ends before its end is an error, however the connection ended."""
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
async def test_no_answer(script: Sequence[ScriptStep]) -> None:
    """A connection that ends before the head is a bad gateway, not a truncated answer."""
    async with connected(script) as (connection, _):
        error = await fails(connection)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_CLOSED, 502)
        assert not error.is_before_response


# What comes unasked.


@pytest.mark.parametrize("early", [ok(b"not yours"), b"\r\n", b"x"])
async def test_answer_before_it_is_asked(early: bytes) -> None:
    """A byte on a connection that nobody has used closes it; no request gets it."""
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
    """The response ends where RFC 9112 section 6.3 says; what follows ends the connection."""
    async with connected([read(), send(data), hold()]) as (connection, _):
        got = await ask(connection)
        assert (got.status, got.body) == (int(data[9:12]), b"")
        assert not connection.is_reusable


async def test_line_end_behind_a_response_closes_the_connection() -> None:
    """Although llhttp would skip it: nobody asked for it."""
    script = [read(), send(ok(b"yours")), wait(), send(b"\r\n"), hold()]
    async with connected(script) as (connection, upstream):
        assert (await ask(connection)).body == b"yours"
        upstream.may_continue.set()  # before the exchange has been given back
        await until(lambda: upstream.open == 0)
        assert not connection.is_reusable


@pytest.mark.parametrize("late", [ok(b"not yours"), b"\r\n"])
async def test_late_second_answer(late: bytes) -> None:
    """A byte that arrives while a connection rests closes it."""
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


async def test_second_answer_while_the_first_is_being_read() -> None:
    """It spoils the connection, not the answer that is complete."""
    script = [read(), send(ok(b"yours")), wait(), send(ok(b"not yours")), hold()]
    async with connected(script) as (connection, upstream):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        upstream.may_continue.set()
        await until(lambda: upstream.open == 0)
        assert await connection.read() == b"yours"
        assert await connection.read() == b""
        assert not connection.is_reusable


async def test_body_behind_an_answer_to_head() -> None:
    """An upstream that sends a body with HEAD is not asked again on that connection."""
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


async def test_body_in_one_go_with_an_answer_to_head() -> None:
    """The same when head and body come together."""
    head = b"HEAD / HTTP/1.1\r\nHost: bank\r\n\r\n"
    async with connected([read(), send(ok(b"abc")), hold()]) as (connection, _):
        got = await ask(connection, head, bodiless=True)
        assert (got.status, got.body) == (200, b"")
        assert not connection.is_reusable


async def test_end_of_an_idle_connection_is_seen() -> None:
    """A connection that the upstream gave up is not quiet, even before the loop has heard it."""
    async with connected([read(), send(ok()), wait(), close()]) as (connection, upstream):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        upstream.may_continue.set()
        await until(lambda: not connection.is_alive())


@one_loop
@pytest.mark.parametrize("last", [b"late", b""], ids=["bytes", "end"])
async def test_what_the_loop_has_not_heard_yet(last: bytes) -> None:
    """The socket is asked itself, so not even a moment is left for the wrong connection."""
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
async def test_reused_connection_that_ends_unanswered_is_untouched(ending: ScriptStep) -> None:
    """Only that says that the upstream cannot have begun to answer."""
    script = [read(), send(ok()), read(), ending]
    async with connected(script) as (connection, _):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        error = await fails(connection)
        assert (error.reason, error.is_before_response) == (kinds.UPSTREAM_CLOSED, True)


async def test_reused_connection_with_a_first_byte_is_touched() -> None:
    """One byte of an answer, and the request may have been worked on."""
    script = [read(), send(ok()), read(), send(b"H"), close()]
    async with connected(script) as (connection, _):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        error = await fails(connection)
        assert (error.reason, error.is_before_response) == (kinds.UPSTREAM_CLOSED, False)


# Deadlines.


async def test_upstream_that_says_nothing() -> None:
    """Accepting and saying nothing ends at the first-byte deadline, with a 504."""
    async with connected([read(), hold()], QUICK) as (connection, upstream):
        error = await fails(connection)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_FIRST_BYTE_TIMEOUT, 504)
        await until(lambda: upstream.open == 0)


async def test_head_that_dribbles_wins_no_time() -> None:
    """The first-byte deadline is one for the whole head."""
    blocks = [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100]
    async with connected([read(), send(*blocks, every=0.05)], QUICK) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_FIRST_BYTE_TIMEOUT


async def test_interim_answers_win_no_time() -> None:
    """Nor do interim answers keep a request waiting for ever."""
    blocks = [response_head(b"102 Processing")] * 100
    async with connected([read(), send(*blocks, every=0.05)], QUICK) as (connection, _):
        assert (await fails(connection)).reason is kinds.UPSTREAM_FIRST_BYTE_TIMEOUT


async def test_body_that_stops() -> None:
    """An upstream that falls silent within a body ends at the idle deadline."""
    script = [read(), send(response_head(b"200 OK", b"Content-Length: 9"), b"abc"), hold()]
    async with connected(script, QUICK) as (connection, _):
        error = await fails(connection)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_IDLE_TIMEOUT, 504)


async def test_body_that_dribbles_within_the_idle_deadline() -> None:
    """A slow body that keeps coming is well."""
    head = response_head(b"200 OK", b"Content-Length: 10")
    script = [read(), send(head, *[b"x"] * 10, every=0.05), hold()]
    async with connected(script, QUICK) as (connection, _):
        assert (await ask(connection)).body == b"x" * 10


async def test_body_that_dribbles_past_the_total_deadline() -> None:
    """The total deadline ends even a body that keeps coming."""
    head = response_head(b"200 OK", b"Content-Length: 500")
    script = [read(), send(head, *[b"x"] * 500, every=0.02)]
    async with connected(script) as (connection, _):
        error = await fails(connection, total=0.3)
        assert (error.reason, error.kind.status) == (kinds.UPSTREAM_TOTAL_TIMEOUT, 504)


async def test_total_deadline_before_the_head() -> None:
    """It ends the wait for the head as well."""
    async with connected([read(), hold()]) as (connection, _):
        assert (await fails(connection, total=0.1)).reason is kinds.UPSTREAM_TOTAL_TIMEOUT


async def test_deadline_of_an_earlier_exchange_does_no_harm() -> None:
    """A timer left over from one exchange does not end the next one early."""
    script = [read(), send(ok()), read(), sleep(0.2), send(ok(b"well")), hold()]
    async with connected(script, QUICK) as (connection, _):
        await ask(connection)
        connection.mark_idle(asyncio.get_running_loop().time())
        await asyncio.sleep(0.3)
        assert (await ask(connection)).body == b"well"
        await asyncio.sleep(QUICK.idle_timeout * 1.5)
        assert connection.is_reusable


async def test_caller_that_reads_slowly_is_no_fault_of_the_upstream() -> None:
    """While a caller is slow to take its answer, the idle deadline waits too."""
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


async def test_caller_that_uploads_slowly_is_no_fault_of_the_upstream() -> None:
    """While we wait for the caller's body, the first-byte deadline waits too."""
    head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: 2\r\n\r\n"
    async with connected([read(), send(ok(b"done")), hold()], QUICK) as (connection, _):
        connection.start(head, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        connection.awaits_caller = True
        await asyncio.sleep(QUICK.first_byte_timeout * 2)
        connection.awaits_caller = False
        await connection.write(b"ab")
        await connection.wait_for_head()
        assert await connection.read() == b"done"


# Bodies, both ways, under pressure.


async def test_answer_is_held_back_from_a_slow_caller() -> None:
    """No more than a bounded part of a body is held; the upstream is made to wait."""
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
        # One read of the loop may come on top of what made us stop.
        assert connection._buffered_bytes <= 3 * HIGH_WATER
        received = 0
        while block := await connection.read():
            received += len(block)
        assert received == size
        assert connection.is_reusable


async def test_complete_response_that_nobody_takes_leaves_the_connection_reading() -> None:
    """A response whose last byte fills the buffer does not stop the next exchange."""
    script = [read(), send(ok(b"x" * (HIGH_WATER + 1))), read(), send(ok(b"next")), hold()]
    async with connected(script) as (connection, _):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        await until(lambda: connection.state is ConnectionState.COMPLETE)
        assert connection.is_reusable
        connection.mark_idle(asyncio.get_running_loop().time())
        assert (await ask(connection)).body == b"next"


async def test_early_response_before_the_request_is_written_ends_the_connection() -> None:
    """Another request would wait behind bytes that the upstream may never read."""
    size = 16 << 20  # more than the sockets' buffers hold
    head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: %d\r\n\r\n" % size
    async with connected([read_head(), send(ok(b"early")), wait()]) as (connection, _):
        assert (await ask(connection, head + b"x" * size)).body == b"early"
        assert not connection.is_reusable


async def test_upload_waits_for_a_slow_upstream() -> None:
    """Writing waits while the upstream does not read, and goes on when it does."""
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


async def test_upload_that_waits_is_woken_by_the_end() -> None:
    """A writer is not left waiting on a connection that is gone, and hears of it next time."""
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


async def test_answer_before_the_end_of_the_upload() -> None:
    """An early answer arrives while the body is still being sent."""
    head = b"POST / HTTP/1.1\r\nHost: bank\r\nContent-Length: 10\r\n\r\n"
    script = [read_head(), send(response_head(b"413 Too Large", b"Content-Length: 0")), hold()]
    async with connected(script) as (connection, _):
        connection.start(head, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.write(b"abc")
        assert (await connection.wait_for_head()).status == 413


async def test_peek_takes_nothing() -> None:
    """What was looked at is still there to be read."""
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


# Ends that are ours.


async def test_error_of_the_callers_ends_the_exchange() -> None:
    """Whoever waits for an answer gets the error for which its body could not be sent."""
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


async def test_failure_after_a_complete_answer_leaves_it_readable() -> None:
    """An answer that is all here is not lost because the rest of the upload failed."""
    async with connected([read_head(), send(ok(b"early")), hold()]) as (connection, _):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        connection.fail(CallerError(kinds.BAD_BODY))
        assert await connection.read() == b"early"
        assert await connection.read() == b""
        assert not connection.is_reusable


async def test_write_to_a_connection_that_is_gone() -> None:
    """It is refused, not swallowed."""
    async with connected(respond_to_all()) as (connection, upstream):
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        connection.abort()
        with pytest.raises(UpstreamError):
            await connection.write(b"x")
        await until(lambda: upstream.open == 0)
        with pytest.raises(UpstreamError):
            await connection.wait_for_head()


async def test_start_on_a_connection_that_was_lost() -> None:
    """Between its being handed out and its use, a connection may go; that is an ordinary error."""
    async with connected([close()]) as (connection, upstream):
        await until(lambda: upstream.open == 0)
        await until(lambda: not connection.is_alive())
        assert (await fails(connection)).reason is kinds.UPSTREAM_CLOSED
