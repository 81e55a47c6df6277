"""HTTP/1.1 messages as written: status line, framing, chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.writer import Framing, chunk, persistence_line, response_framing, response_head


def test_response_head() -> None:
    """Status line, header lines, an empty line."""
    assert response_head(404, b"", [b"A: b\r\n"]) == b"HTTP/1.1 404 \r\nA: b\r\n\r\n"


LENGTH_7 = Framing(b"Content-Length: 7\r\n", chunked=False, is_self_delimited=True)


NOTHING = Framing(b"", chunked=False, is_self_delimited=True)


@pytest.mark.parametrize(
    ("status", "length", "bodiless", "whole", "chunks", "framing"),
    [
        (204, None, True, None, True, NOTHING),
        (204, b"7", True, None, True, NOTHING),
        (200, b"7", False, None, True, LENGTH_7),
        (200, b"7", False, 7, True, LENGTH_7),
        (200, b"7", True, 0, True, LENGTH_7),
        (304, None, True, 0, True, NOTHING),
        (200, None, True, None, False, NOTHING),
        (200, None, False, 7, True, LENGTH_7),
        (200, None, False, 7, False, LENGTH_7),
        (
            *(200, None, False, None, True),
            Framing(b"Transfer-Encoding: chunked\r\n", chunked=True, is_self_delimited=True),
        ),
        (200, None, False, None, False, Framing(b"", chunked=False, is_self_delimited=False)),
    ],
)
def test_response_framing(
    status: int,
    length: bytes | None,
    bodiless: bool,
    whole: int | None,
    chunks: bool,
    framing: Framing,
) -> None:
    """A length or chunks, neither without a body, otherwise close-delimited."""
    assert (
        response_framing(status, length, bodiless=bodiless, complete_length=whole, chunks=chunks)
        == framing
    )


@given(
    st.integers(200, 599),
    st.none() | st.integers(0, 10**12).map(lambda size: b"%d" % size),
    st.booleans(),
    st.none() | st.integers(0, 10**6),
    st.booleans(),
)
def test_response_framing_is_consistent(
    status: int, length: bytes | None, bodiless: bool, whole: int | None, chunks: bool
) -> None:
    """The framing header and the returned framing agree."""
    framing = response_framing(
        status, length, bodiless=bodiless, complete_length=whole, chunks=chunks
    )
    assert framing.line.count(b"\r\n") <= 1
    assert framing.chunked == (b"chunked" in framing.line)
    assert framing.is_self_delimited or not (framing.line or chunks or bodiless)


def test_persistence_line() -> None:
    """The Connection header by version and persistence."""
    assert persistence_line(keep_alive=True) == b"Connection: keep-alive\r\n"
    assert persistence_line(keep_alive=False) == b"Connection: close\r\n"


def test_chunk() -> None:
    """Size in hexadecimal, with two line ends."""
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
