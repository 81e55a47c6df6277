"""Both parsers: any bytes in any pieces are read as the RFC says, or refused."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.forwarding.headers import ResponseHeaders
from tests.fuzz import drive, reference
from tests.fuzz.bytes_of import REQUEST_LINES, RESPONSE_LINES, cut_up, streams, well_formed

RESPONSES = streams(RESPONSE_LINES, most=2)
REQUESTS = streams(REQUEST_LINES)


@given(RESPONSES.flatmap(cut_up), st.booleans(), st.booleans())
@example([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"], True, False)
def test_response_does_not_depend_on_pieces(cut: list[bytes], bodiless: bool, ended: bool) -> None:
    """Segments are chosen by the network."""
    data = b"".join(cut)
    # A line end behind the response to HEAD is ignored either way.
    assume(not (bodiless and re.search(rb"\r\n\r\n[\r\n]+\Z", data)))
    whole = drive.upstream([data], bodiless=bodiless, ended=ended)
    assert drive.upstream(cut, bodiless=bodiless, ended=ended) == whole


@given(RESPONSES, st.booleans(), st.booleans())
@example(b"HTTP/1.1 200 OK\r\n\r\nto the end", False, True)
def test_response_agrees_with_the_reference(data: bytes, bodiless: bool, ended: bool) -> None:
    """Status, headers and body."""
    ours = drive.upstream([data], bodiless=bodiless, ended=ended)
    try:
        theirs = reference.response(data, bodiless=bodiless, ended=ended)
    except reference.NoMessageError:
        assert not ours.complete, "an answer that is none was taken"
        return
    except reference.CutError:
        assert not ours.complete, "an answer that is cut was taken for whole"
        return
    if theirs.rest.strip(b"\r\n"):  # line ends between messages are ignored
        assert not ours.reusable, "bytes behind an answer were overlooked"
    assert ours.failure == ""
    assert ours.complete
    assert (ours.status, ours.body) == (int(theirs.start[1]), theirs.body)
    assert [(name, value.rstrip(b"\t ")) for name, value in ours.headers] == theirs.headers


@given(well_formed(RESPONSE_LINES))
def test_forwarded_response_is_one_message(data: bytes) -> None:
    """Whatever the bank sends."""
    ours = drive.upstream([data], bodiless=False, ended=True)
    assume(ours.complete and not ours.failure)
    passing = ResponseHeaders(ours.headers)
    sent = b"HTTP/1.1 %d OK\r\n%bContent-Length: %d\r\n\r\n%b" % (
        ours.status,
        b"".join(passing.lines),
        len(ours.body),
        ours.body,
    )
    assume(ours.status not in (204, 304))
    read = reference.response(sent, bodiless=False, ended=False)
    assert (read.body, read.rest) == (ours.body, b"")
    assert b"connection" not in [name.lower() for name, _ in read.headers]


@given(REQUESTS.flatmap(cut_up))
@example(
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Transfer-Encoding: : chunked\r\n\r\n0\r\n\r\n",
    ]
)
def test_requests_do_not_depend_on_pieces(cut: list[bytes]) -> None:
    """Nor does the refusal behind them."""
    whole, pieces = drive.caller([b"".join(cut)]), drive.caller(cut)
    assert pieces.requests == whole.requests
    assert bool(pieces.refusals) == bool(whole.refusals)


@given(REQUESTS)
def test_requests_agree_with_the_reference(data: bytes) -> None:
    """None is added or changed."""
    recorded = drive.caller([data])
    rest, theirs = data, list[drive.Spoken]()
    try:
        while rest.lstrip(b"\r\n") and len(theirs) < len(recorded.requests):
            message = reference.request(rest)
            method, target, _ = message.start
            theirs.append((method.decode(), target, tuple(message.headers), message.body))
            rest = message.rest
    except (reference.NoMessageError, reference.CutError):
        pass
    assert recorded.requests == theirs


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3, 3),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n", 1),
        (b"GET / HTTP/1.0\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\nHost: x\r\n\r\n", 1),
    ],
)
def test_drive_parses_requests(data: bytes, count: int) -> None:
    """Otherwise it would agree with every reference."""
    assert len(drive.caller([data]).requests) == count
