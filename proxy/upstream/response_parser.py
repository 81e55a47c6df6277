"""Reads HTTP/1.1 responses: bytes in, events out.

There is no socket, loop or clock here (https://sans-io.readthedocs.io). llhttp in strict mode
parses the grammar, through httptools; this module decides what llhttp leaves open, above all where
a response ends (RFC 9112 section 6.3).
"""

import re

import httptools

from proxy.errors import UpstreamError, kinds
from proxy.upstream.head_whitespace import HeadWhitespace

MAX_HEAD = 131_072
"""Largest head in bytes; also the largest size of trailers or interim responses."""

# RFC 9112 section 4: HTAB, SP, VCHAR and obs-text.
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class ResponseHead:
    """Status line and headers of a final response, as received."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers


ResponseEvent = ResponseHead | bytes
"""The head, then blocks of the body as received, then an empty block: the end."""


class ResponseParser:
    """Reads the responses of one connection, one after another.

    ``keep_alive`` says whether another response may follow, once one has ended. ``has_started``
    is true from the first byte after ``expect_response``.
    """

    def __init__(self) -> None:
        self._llhttp = httptools.HttpResponseParser(self)
        self._events: list[ResponseEvent] = []
        self.expect_response(to_head=False)

    def expect_response(self, *, to_head: bool) -> None:
        """Prepare for the response to the next request; ``to_head``: the request is a HEAD."""
        self.has_started = False
        self.keep_alive = False
        self._is_bodiless = to_head
        self._has_head = False
        self._is_complete = False
        self._is_chunked = False
        self._announces_body_on_204 = False
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        # Bytes of heads, trailers and chunk framing since the last block of a body.
        self._unbounded_bytes = 0
        # The blocks of the head, as long as it may have to be read a second time.
        self._first_block = b""
        self._more_blocks: list[bytes] | None = None
        self._whitespace: HeadWhitespace | None = None

    def feed(self, data: bytes) -> list[ResponseEvent]:
        """Return the events that ``data`` completes. Raises ``UpstreamError`` if it is invalid."""
        events: list[ResponseEvent] = []
        self._events = events
        self.has_started = True
        self._unbounded_bytes += len(data)
        if not self._has_head:
            if not self._first_block:
                self._first_block = data
            elif self._more_blocks is None:
                self._more_blocks = [data]
            else:
                self._more_blocks.append(data)
        try:
            if self._whitespace is not None:
                data = self._whitespace.remove(data)
            self._llhttp.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._handle(error)
        if self._unbounded_bytes > MAX_HEAD and not self._is_complete:
            raise UpstreamError(
                kinds.UPSTREAM_MALFORMED, "The bank's response has too long a head or trailers."
            )
        return events

    def feed_eof(self) -> bool:
        """Handle the end of the stream; return whether it ends the response.

        It does only for a close-delimited body (RFC 9112 section 6.3, item 8).
        """
        if not self._has_head or self._is_complete or self._is_chunked or self._has_length():
            return False
        self._is_complete = True
        return True

    # llhttp's callbacks.

    def on_message_begin(self) -> None:
        """Refuse bytes after a complete response."""
        if self._is_complete:
            raise _ExcessError

    def on_status(self, reason: bytes) -> None:
        """Collect the reason phrase, which may arrive in pieces."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers are dropped."""
        if not self._has_head:
            if len(name) == 17 and name.lower() == b"transfer-encoding":
                self._note_transfer_coding(value)
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Handle a complete head: interim response, final response with or without a body."""
        status = self._llhttp.get_status_code()
        # RFC 9110 section 15.2: interim responses precede the final one. A 101 was not asked for.
        if 100 <= status < 200 and status != 101:
            return
        if status == 101 or not 200 <= status <= 599:
            raise _BadHeadError
        if self._reason != b"OK" and not _REASON.fullmatch(self._reason):
            raise _BadHeadError
        if self._llhttp.get_http_version() not in ("1.1", "1.0"):
            raise _BadHeadError
        if status == 204:
            # RFC 9112 section 6.1: it must not have one, so the bytes may follow the response.
            self._announces_body_on_204 = self._is_chunked or self._has_length(beyond=b"0")
        self._has_head = True
        self._first_block, self._more_blocks = b"", None
        self._events.append(ResponseHead(status, self._reason, self._headers))
        if self._is_bodiless:
            # RFC 9112 section 6.3, item 1. llhttp's binding has no option for it: use a new parser.
            self._complete()
            self._llhttp = httptools.HttpResponseParser(self)

    def on_body(self, block: bytes) -> None:
        """Emit a block of the body."""
        if self._is_bodiless:
            raise _ExcessError
        self._events.append(block)
        self._unbounded_bytes = 0

    def on_message_complete(self) -> None:
        """Emit the end of a response, or start again after an interim one."""
        if not self._has_head:
            self._reason = b""
            self._headers = []
            self._is_chunked = False
        elif not self._is_complete:
            self._complete()
        elif self._is_bodiless and self._is_chunked:
            raise _ExcessError  # the end of a body that is not allowed

    # Inside.

    def _handle(self, error: Exception) -> None:
        if self._is_complete:
            # Bytes after a complete response belong to no request. They do not invalidate it, but
            # must not be read as the response to the next request (RFC 9112 section 9.2).
            self.keep_alive = False
        elif not self._has_head and self._whitespace is None and "Invalid header" in str(error):
            self._read_again()
        else:
            raise UpstreamError(kinds.UPSTREAM_MALFORMED) from error

    def _read_again(self) -> None:
        """Read the head from its beginning, without the white space that llhttp refuses."""
        whitespace = self._whitespace = HeadWhitespace()
        self._llhttp = httptools.HttpResponseParser(self)
        self._reason, self._headers, self._is_chunked = b"", [], False
        try:
            self._llhttp.feed_data(
                whitespace.remove(b"".join((self._first_block, *(self._more_blocks or ()))))
            )
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._handle(error)

    def _complete(self) -> None:
        # Decided at the end, because llhttp takes trailers into account. RFC 9112 section 6.1: an
        # HTTP/1.0 response with chunks must close, as older readers may see another end.
        self.keep_alive = self._llhttp.should_keep_alive() and not (
            self._announces_body_on_204
            or (self._is_chunked and self._llhttp.get_http_version() == "1.0")
        )
        self._is_complete = True
        self._events.append(b"")

    def _note_transfer_coding(self, value: bytes) -> None:
        # RFC 9112 section 6.1. llhttp refuses Content-Length with chunks, but of two codings it
        # would decode only the last.
        if self._is_chunked or value.rstrip(b" ").lower() != b"chunked":
            raise _BadHeadError
        self._is_chunked = True

    def _has_length(self, *, beyond: bytes = b"") -> bool:
        return any(
            name.lower() == b"content-length" and value != beyond for name, value in self._headers
        )


class _BadHeadError(Exception):
    """Raised into llhttp to stop it."""


class _ExcessError(Exception):
    """Raised into llhttp when bytes follow a complete response."""
