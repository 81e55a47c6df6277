"""The request parser without a loop or a socket: bytes in, events out.

tests/hazards has invalid requests and their responses.
"""

import pytest

from proxy.errors import ErrorKind, ProxyError, kinds
from proxy.server.caller import NO_CALLER
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request
from proxy.server.request_parser import ParserState, RequestEvent, RequestParser

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
SIZED = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class NoConnection:
    """A connection that requests must not use."""

    is_tls = False
    caller = NO_CALLER

    async def deliver(self, data: bytes) -> None:
        """Fail."""
        raise AssertionError(data)

    def reset(self) -> None:
        """Fail."""
        raise AssertionError

    def local_address(self) -> tuple[str, int] | None:
        """Return None."""
        return None

    def pause_reading(self) -> None:
        """Fail."""
        raise AssertionError

    def resume_reading(self) -> None:
        """Fail."""
        raise AssertionError


def new_parser(**limits: int) -> RequestParser:
    """Return a parser with these limits."""
    return RequestParser(CallerLimits(**limits), NoConnection())


def read(events: list[RequestEvent]) -> list[bytes | ErrorKind]:
    """Return events; a request is replaced by its target and an error by its kind."""
    found: list[bytes | ErrorKind] = []
    for event in events:
        if isinstance(event, Request):
            found.append(event.target)
        else:
            found.append(event.kind if isinstance(event, ProxyError) else event)
    return found


def test_requests_in_one_piece() -> None:
    """A request, its body and its end, then the next request."""
    parser = new_parser()
    events = parser.feed(GET + SIZED + b"hello" + CHUNKED + b"2\r\nhi\r\n0\r\nX-Trailer: t\r\n\r\n")
    assert read(events) == [b"/a", b"", b"/b", b"hello", b"", b"/c", b"hi", b""]
    assert parser.state is ParserState.BETWEEN_REQUESTS
    first, last = events[0], events[5]
    assert isinstance(first, Request)
    assert isinstance(last, Request)
    assert (first.method, first.version, first.keep_alive) == ("GET", (1, 1), True)
    assert last.headers == [(b"Host", b"x"), (b"Transfer-Encoding", b"chunked")]


def test_events_follow_their_bytes() -> None:
    """Byte by byte, each event occurs once and as early as possible."""
    parser = new_parser()
    events: list[RequestEvent] = []
    states = []
    for at in range(len(SIZED) + 5):
        events += parser.feed((SIZED + b"hello")[at : at + 1])
        states.append(parser.state)
    assert read(events) == [b"/b", b"h", b"e", b"l", b"l", b"o", b""]
    head = len(SIZED) - 1
    assert set(states[:head]) == {ParserState.HEAD}
    assert set(states[head:-1]) == {ParserState.BODY}
    assert states[-1] is ParserState.BETWEEN_REQUESTS


@pytest.mark.parametrize(
    "last",
    [GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), GET.replace(b"1.1", b"1.0")],
)
def test_nothing_is_read_after_a_last_request(last: bytes) -> None:
    """RFC 9112 section 9.6."""
    parser = new_parser()
    assert read(parser.feed(last + GET)) == [b"/a", b""]
    assert parser.state is ParserState.DONE
    assert parser.feed(GET) == []


def test_error_after_a_good_request() -> None:
    """The good request is still an event."""
    parser = new_parser()
    assert read(parser.feed(GET + b"no request\r\n\r\n")) == [b"/a", b"", kinds.UNREADABLE]
    assert parser.state is ParserState.DONE
    assert parser.feed(GET) == []


def test_error_within_a_body() -> None:
    """It follows the valid part of the body."""
    parser = new_parser()
    assert read(parser.feed(CHUNKED + b"2\r\nhi\r\nxyz\r\n")) == [b"/c", b"hi", kinds.BAD_BODY]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x16\x03\x01\x02\x00\x01", kinds.TLS_ON_HTTP),
        (b"GET / HTTP/3.0\r\n\r\n", kinds.VERSION),
        (b"what is this\r\n\r\n", kinds.UNREADABLE),
        (b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", kinds.UNREADABLE),
    ],
)
def test_invalid_request_has_its_own_error(data: bytes, kind: ErrorKind) -> None:
    """Each kind of defect has its kind of error."""
    assert read(new_parser().feed(data)) == [kind]


@pytest.mark.parametrize("cut", [0, 1, 30, 50])
def test_limits_do_not_depend_on_pieces(cut: int) -> None:
    """A head in two pieces is measured like one."""
    for line, kind in (
        (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 60), kinds.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * 60), kinds.TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"X: y\r\n" * 9), kinds.TOO_LARGE),
    ):
        parser = new_parser(max_line=50, max_headers=8)
        assert read([*parser.feed(line[:cut]), *parser.feed(line[cut:])]) == [kind]


def test_endless_head_is_refused() -> None:
    """It is refused within a block of the limit."""
    parser = new_parser(max_head=1000)
    assert parser.feed(GET[:-2]) == []
    fed = 0
    while not (events := parser.feed(b"X: %b\r\n" % (b"x" * 95))):
        fed += 100
    assert read(events) == [kinds.TOO_LARGE]
    assert 800 < fed <= 1100


def test_endless_trailers_fail_the_body() -> None:
    """Trailers are bounded."""
    parser = new_parser(max_head=1000)
    assert read(parser.feed(CHUNKED + b"2\r\nhi\r\n0\r\n")) == [b"/c", b"hi"]
    fed = 0
    while not (events := parser.feed(b"X: y\r\n")):
        fed += 6
    assert read(events) == [kinds.TOO_LARGE]
    assert fed <= 1006


def test_large_body_does_not_count_as_head() -> None:
    """Limits of heads and trailers do not apply to bodies and chunk framing."""
    parser = new_parser(max_head=1000)
    events = parser.feed(CHUNKED)
    for _ in range(1000):
        events += parser.feed(b"1\r\nx\r\n")
    events += parser.feed(b"0\r\n\r\n")
    assert read(events) == [b"/c", *[b"x"] * 1000, b""]


@pytest.mark.parametrize("cut", [0, 20, 70, 90, 110])
def test_body_behind_an_upgrade_is_read(cut: int) -> None:
    """Upgrade is ignored: body and next request are parsed."""
    lines = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 5\r\n"
    data = b"POST /up HTTP/1.1\r\nHost: x\r\n%b\r\nhello%b" % (lines, GET)
    parser = new_parser()
    events = [*parser.feed(data[:cut]), *parser.feed(data[cut:])]
    bodies = [event for event in events if isinstance(event, bytes)]
    assert b"".join(bodies) == b"hello"
    assert [one.target for one in events if isinstance(one, Request)] == [b"/up", b"/a"]
    assert bodies.count(b"") == 2
