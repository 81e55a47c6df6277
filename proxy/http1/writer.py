"""Writes HTTP/1.1 messages: status lines, body framing, chunks."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

LAST_CHUNK = b"0\r\n\r\n"


def response_head(status: int, reason: bytes, lines: Iterable[bytes]) -> bytes:
    """Return the bytes of the answer up to its body."""
    return b"".join((_status_line(status, reason), *lines, b"\r\n"))


@lru_cache(maxsize=256)
def _status_line(status: int, reason: bytes) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


class Framing(NamedTuple):
    """How a body's end is told: the header line for it, and what that means for the writer.

    ``chunked``: blocks go out as chunks. ``is_self_delimited``: the body ends by itself, so that
    the connection may be kept.
    """

    line: bytes
    chunked: bool = False
    is_self_delimited: bool = True


_NO_BODY = Framing(b"")
_CHUNKS = Framing(b"Transfer-Encoding: chunked\r\n", chunked=True)
_UNTIL_CLOSE = Framing(b"", is_self_delimited=False)


def response_framing(
    status: int, length: bytes | None, *, bodiless: bool, complete_length: int | None, chunks: bool
) -> Framing:
    """Return the framing of an answer.

    ``length`` is the upstream's own ``Content-Length``, ``complete_length`` the size of a body
    that is all here already, ``chunks`` whether this caller understands chunks (HTTP/1.1).
    """
    if status == 204:
        return _NO_BODY
    if length is not None:
        return Framing(b"Content-Length: %b\r\n" % length)
    if bodiless:
        return _NO_BODY
    if complete_length is not None:
        return Framing(b"Content-Length: %d\r\n" % complete_length)
    if chunks:
        return _CHUNKS
    return _UNTIL_CLOSE


def persistence_line(*, keep_alive: bool) -> bytes:
    """Return the ``Connection`` header that says what happens next.

    Needed where the connection closes, and always for an HTTP/1.0 caller.
    """
    return b"Connection: keep-alive\r\n" if keep_alive else b"Connection: close\r\n"


def chunk(block: bytes) -> bytes:
    """Return ``block`` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(block), block)
