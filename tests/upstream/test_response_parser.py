"""The response parser without a loop or a socket: bytes in, events out.

``test_connection`` tests complete responses over a connection.
"""

import pytest

from proxy.errors import UpstreamError, kinds
from proxy.upstream.response_parser import MAX_HEAD, ResponseEvent, ResponseHead, ResponseParser

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def expecting(*, to_head: bool = False) -> ResponseParser:
    """Return a parser that expects a response."""
    parser = ResponseParser()
    parser.expect_response(to_head=to_head)
    return parser


def read(events: list[ResponseEvent]) -> list[int | bytes]:
    """Return events; the head is replaced by its status."""
    return [event.status if isinstance(event, ResponseHead) else event for event in events]


def test_response_in_one_piece() -> None:
    """The head, the body, and an empty block as the end."""
    parser = expecting()
    head, *rest = parser.feed(SIZED + b"hello")
    assert isinstance(head, ResponseHead)
    assert (head.status, head.reason) == (200, b"OK")
    assert head.headers == [(b"Content-Length", b"5")]
    assert rest == [b"hello", b""]
    assert parser.keep_alive


def test_events_follow_their_bytes() -> None:
    """Byte by byte, each event occurs once and as early as possible."""
    parser = expecting()
    data = b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n" + CHUNKED + b"2\r\nhi\r\n0\r\nX-Trailer: t\r\n\r\n"
    events = [(at, event) for at in range(len(data)) for event in parser.feed(data[at : at + 1])]
    assert [event for _, event in events[1:]] == [b"h", b"i", b""]
    head = events[0][1]
    assert isinstance(head, ResponseHead)
    assert head.headers == [(b"Transfer-Encoding", b"chunked")]
    assert events[0][0] == data.index(CHUNKED) + len(CHUNKED) - 1
    assert events[-1][0] == len(data) - 1


def test_responses_in_sequence() -> None:
    """They share no state."""
    parser = expecting()
    assert read(parser.feed(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n")) == [200, b"hi", b""]
    assert (parser.has_started, parser.keep_alive) == (True, True)
    parser.expect_response(to_head=True)
    assert (parser.has_started, parser.keep_alive) == (False, False)
    assert read(parser.feed(SIZED)) == [200, b""]
    assert (parser.has_started, parser.keep_alive) == (True, True)
    parser.expect_response(to_head=False)
    assert read(parser.feed(b"HTTP/1.1 404 Not Found\r\n\r\n")) == [404]
    assert parser.feed_eof()


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", True),
        (b"HTTP/1.0 200 OK\r\n\r\n", True),
        (SIZED + b"hel", False),
        (CHUNKED + b"3\r\nhel", False),
        (SIZED + b"hello", False),
    ],
)
def test_end_of_stream(data: bytes, *, ends: bool) -> None:
    """EOF ends a body without a length only (RFC 9112 section 6.3, item 8)."""
    parser = expecting()
    if data:
        parser.feed(data)
    assert parser.feed_eof() is ends


@pytest.mark.parametrize(
    "codings",
    [[b"gzip"], [b"gzip, chunked"], [b"chunked", b"chunked"], [b"gzip", b"chunked"], [b""]],
)
def test_unknown_transfer_coding_is_refused(codings: list[bytes]) -> None:
    """Chunked alone and once is supported (RFC 9112 section 6.1)."""
    lines = b"".join(b"transfer-Encoding: %b\r\n" % coding for coding in codings)
    with pytest.raises(UpstreamError) as caught:
        expecting().feed(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    assert caught.value.kind is kinds.UPSTREAM_MALFORMED


def test_interim_response_does_not_affect_framing() -> None:
    """A coding on a 103 is not the final response's."""
    interim = b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read(expecting().feed(interim + CHUNKED + b"0\r\n\r\n")) == [200, b""]


@pytest.mark.parametrize("behind", [b"x", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"])
@pytest.mark.parametrize("to_head", [False, True])
def test_bytes_behind_a_complete_response(behind: bytes, *, to_head: bool) -> None:
    """The response is valid; another must not follow."""
    parser = expecting(to_head=to_head)
    data = SIZED if to_head else b"HTTP/1.1 204 No Content\r\n\r\n"
    assert read(parser.feed(data + behind))[1:] == [b""]
    assert not parser.keep_alive


def test_chunked_http_1_0_response_is_the_last() -> None:
    """RFC 9112 section 6.1."""
    head = CHUNKED.replace(b"1.1", b"1.0").replace(
        b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"
    )
    parser = expecting()
    assert read(parser.feed(head + b"0\r\n\r\n")) == [200, b""]
    assert not parser.keep_alive


@pytest.mark.parametrize(
    ("status", "field", "reusable"),
    [
        (b"204 No Content", b"Transfer-Encoding: chunked", False),
        (b"204 No Content", b"Content-Length: 3", False),
        (b"204 No Content", b"Content-Length: 0", True),
        (b"304 Not Modified", b"Transfer-Encoding: chunked", True),
        (b"304 Not Modified", b"Content-Length: 3", True),
    ],
)
def test_response_that_announces_a_body_it_cannot_have(
    status: bytes, field: bytes, *, reusable: bool
) -> None:
    """It ends with its head; after a 204, the body may be on its way and be taken for the next."""
    parser = expecting()
    data = b"HTTP/1.1 %b\r\n%b\r\n\r\n" % (status, field)
    assert read(parser.feed(data)) == [int(status[:3]), b""]
    assert parser.keep_alive is reusable


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_space_before_a_colon_is_removed(size: int, interim: bytes) -> None:
    """In blocks of any size, and whatever follows the head (RFC 9112 section 5.1)."""
    head = b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length\t : 9\r\nY:  z : \r\n\r\n"
    data = interim + head + b"\r\nX-B : c"
    parser = expecting()
    events = [
        event for at in range(0, len(data), size) for event in parser.feed(data[at : at + size])
    ]
    assert isinstance(events[0], ResponseHead)
    names = [name for name, _ in events[0].headers]
    assert names == [b"X-A", b"Content-Length", b"Y"]
    assert (b"".join(one for one in events if type(one) is bytes), events[-1]) == (
        b"\r\nX-B : c",
        b"",
    )
    assert parser.keep_alive
    parser.expect_response(to_head=False)
    assert read(parser.feed(SIZED + b"hello")) == [200, b"hello", b""]


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length : 1\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding : gzip\r\n",
        b"X : a\r\nX Y: b\r\n",
        b"X : a\r\n : b\r\n",
        b"X : a\r\n fold : b\r\n",
    ],
)
def test_invalid_head_with_a_space_is_refused(lines: bytes) -> None:
    """Without it the head is still invalid."""
    with pytest.raises(UpstreamError):
        expecting().feed(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nab")


def test_endless_head_with_a_space_is_refused() -> None:
    """It is bounded like any other head."""
    parser = expecting()
    parser.feed(b"HTTP/1.1 200 OK\r\nX : y\r\n")
    for _ in range(MAX_HEAD // 1000 - 1):
        assert parser.feed(b"x" * 1000) == []
    with pytest.raises(UpstreamError):
        parser.feed(b"x" * 2000)


def test_endless_head_is_refused() -> None:
    """A head is bounded."""
    parser = expecting()
    line = b"X: y\r\n"
    parser.feed(b"HTTP/1.1 200 OK\r\n")
    for _ in range(MAX_HEAD // len(line) - 3):
        assert parser.feed(line) == []
    with pytest.raises(UpstreamError):
        parser.feed(line * 4)
