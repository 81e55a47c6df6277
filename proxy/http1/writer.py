"""Writes HTTP/1.1 messages: status lines, body framing, chunks."""

from collections.abc import Iterable
from typing import NamedTuple

from proxy.http1.bounded_cache import BoundedCache

LAST_CHUNK = b"0\r\n\r\n"


def response_head(status: int, reason: bytes, lines: Iterable[bytes]) -> bytes:
    """Return the bytes of a response up to its body."""
    return b"".join((_STATUS_LINES[status, reason], *lines, b"\r\n"))


def _status_line(key: tuple[int, bytes]) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % key


def _reason_size(key: tuple[int, bytes]) -> int:
    return len(key[1])


_STATUS_LINES: BoundedCache[tuple[int, bytes], bytes] = BoundedCache(_status_line, _reason_size)


class Framing(NamedTuple):
    """The framing of a body (RFC 9112 section 6): its header line, and how to write the body.

    ``chunked``: blocks are sent as chunks. ``is_self_delimited``: the body's end does not depend
    on the end of the connection, which may be kept.
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
    """Return the framing of a response.

    ``length`` is the upstream's ``Content-Length``, ``complete_length`` the size in bytes of a
    body that has arrived completely, ``chunks`` whether the caller accepts chunks (HTTP/1.1).
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
    """Return the ``Connection`` header (RFC 9112 section 9.3).

    Needed where the connection closes, and always for an HTTP/1.0 caller.
    """
    return b"Connection: keep-alive\r\n" if keep_alive else b"Connection: close\r\n"


def chunk(block: bytes) -> bytes:
    """Return ``block`` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(block), block)
