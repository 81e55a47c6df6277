"""Reads HTTP/1.1 requests: bytes in, events out.

There is no socket, loop or clock here (https://sans-io.readthedocs.io). llhttp in strict mode
parses the grammar, through httptools; this module applies the limits and decides what llhttp
leaves open. llhttp's messages are not passed on, because they may quote the caller.
"""

from enum import Enum

import httptools

from proxy.errors import CallerError, ProxyError, kinds
from proxy.server.limits import CallerLimits
from proxy.server.memory import HEADER_OVERHEAD
from proxy.server.messages import Request, RequestConnection

_WHITE_SPACE = (b" ", b"\t")
# Avoids decoding the usual methods for each request.
_METHODS = {b"GET": "GET", b"POST": "POST", b"PUT": "PUT", b"PATCH": "PATCH", b"DELETE": "DELETE"}

RequestEvent = Request | bytes | ProxyError
"""A request, then blocks of its body as they arrived, then an empty block: the end.

An error comes last. It fails the body of the unfinished request, if there is one; otherwise it
takes the place of a request.
"""


# Of no request; never changed.
_NO_HEADERS: list[tuple[bytes, bytes]] = []
_NO_EVENTS: list[RequestEvent] = []


class ParserState(Enum):
    """The parser's position in the input."""

    BETWEEN_REQUESTS = "between requests"
    HEAD = "head"
    BODY = "body"
    CONNECT = "connect"
    """What follows is a tunnel's, if the request is accepted, and is left alone until then."""
    DONE = "done"
    """No more input is read: after an error, or after a last request (RFC 9112 section 9.6)."""


class RequestParser:
    """Reads the requests of one connection; each request refers to ``connection``."""

    def __init__(self, limits: CallerLimits, connection: RequestConnection) -> None:
        self._limits = limits
        self._connection = connection
        self._llhttp = httptools.HttpRequestParser(self)
        self._events: list[RequestEvent] = []
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._keep_alive = True
        # Bytes of the current head, trailers or chunk framing. The block in which a head began
        # is counted whole, although some of it may belong to the message before.
        self._unbounded_bytes = 0
        self._first_block = 0
        self._block = 0
        # What has come behind a CONNECT, and what it said for those within the tunnel.
        self._behind_connect = b""
        self._tunnel_headers: list[tuple[bytes, bytes]] = []
        # The framing of a body that llhttp will not read, because its request has an Upgrade.
        self._unread_framing = b""
        self._is_resuming = False
        self.state = ParserState.BETWEEN_REQUESTS

    def feed(self, data: bytes) -> list[RequestEvent]:
        """Return the events that ``data`` completes."""
        events: list[RequestEvent] = []
        if self.state is ParserState.DONE:
            return events
        self._events = events
        self._block = len(data)
        self._unbounded_bytes += self._block
        try:
            try:
                self._llhttp.feed_data(data)
            except httptools.HttpParserUpgrade as pause:
                self._feed_behind_upgrade(data[pause.args[0] :])
        except httptools.HttpParserError as error:
            self._note_error(error, data)
            return events
        if self.state is ParserState.HEAD:
            # An incomplete head. The exact size is checked when it is complete.
            if self._unbounded_bytes - self._first_block > self._limits.max_head:
                self._end_with(CallerError(kinds.TOO_LARGE))
        elif self.state is ParserState.BODY and self._unbounded_bytes > self._limits.max_head:
            self._end_with(CallerError(kinds.TOO_LARGE))  # trailers without end
        self._events = _NO_EVENTS
        return events

    def stop(self) -> None:
        """Ignore further input."""
        self.state = ParserState.DONE

    def enter_tunnel(self, connect: Request) -> bytes:
        """Read requests within the tunnel of a CONNECT; return its bytes received so far.

        The ``Proxy-Authorization`` of the CONNECT applies to the requests within, which are
        addressed to the server at the tunnel's end and do not repeat it.
        """
        self._llhttp = httptools.HttpRequestParser(self)
        self.state = ParserState.BETWEEN_REQUESTS
        self._tunnel_headers = [
            header for header in connect.headers if header[0].lower() == b"proxy-authorization"
        ]
        data, self._behind_connect = self._behind_connect, b""
        return data

    @property
    def head_bytes(self) -> int:
        """About how much memory an unfinished head takes."""
        if self.state is not ParserState.HEAD:
            return 0
        return self._unbounded_bytes + len(self._headers) * HEADER_OVERHEAD

    def drop_head(self) -> None:
        """Ignore further input and free what has been read of a head."""
        self.stop()
        self._llhttp = httptools.HttpRequestParser(self)
        self._target, self._headers = b"", []

    # llhttp's callbacks.

    def on_message_begin(self) -> None:
        """Start a head."""
        if self._is_resuming:
            return
        self.state = ParserState.HEAD
        self._unbounded_bytes = self._first_block = self._block
        self._target = b""
        self._headers = []

    def on_url(self, target: bytes) -> None:
        """Collect the request-target, which may arrive in pieces."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers are dropped."""
        if self.state is ParserState.HEAD:
            # RFC 9112 section 5.1: white space around a value is not part of it.
            if value[-1:] in _WHITE_SPACE:
                value = value.rstrip(b" \t")
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Emit the request; raise ``CallerError`` into llhttp if it is refused."""
        if self._is_resuming:
            return
        llhttp, limits, headers = self._llhttp, self._limits, self._headers
        is_1_1 = llhttp.get_http_version() == "1.1"
        if not is_1_1 and llhttp.get_http_version() != "1.0":
            raise CallerError(kinds.VERSION)
        # The sum of the blocks is cheap to know and never too small.
        if self._unbounded_bytes > limits.max_line or len(headers) > limits.max_headers:
            limits.check_head(self._target, headers)
        self.state = ParserState.BODY
        self._unbounded_bytes = 0
        try:
            method = _METHODS[llhttp.get_method()]
        except KeyError:
            method = llhttp.get_method().decode("ascii")
        self._keep_alive = llhttp.should_keep_alive() and method != "CONNECT"
        if self._tunnel_headers:
            self._add_tunnel_headers(headers)
        if llhttp.should_upgrade() and method != "CONNECT":
            self._unread_framing = _framing(headers)
        # The request has them from here on; an idle connection must not hold its last one.
        target, self._target = self._target, b""
        self._headers = _NO_HEADERS
        self._events.append(
            Request(
                self._connection,
                method,
                target,
                (1, 1) if is_1_1 else (1, 0),
                headers,
                self._keep_alive,
            )
        )

    def on_body(self, block: bytes) -> None:
        """Emit a block of the body."""
        self._events.append(block)
        self._unbounded_bytes = 0

    def on_message_complete(self) -> None:
        """Emit the end of the request; after a last one, ignore further input."""
        if self._unread_framing:
            return
        self._events.append(b"")
        self._unbounded_bytes = 0
        if self._keep_alive:
            self.state = ParserState.BETWEEN_REQUESTS
        elif self._llhttp.get_method() == b"CONNECT":
            self.state = ParserState.CONNECT
        else:
            self.state = ParserState.DONE

    # Inside.

    def _add_tunnel_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        if not any(name.lower() == b"proxy-authorization" for name, _ in headers):
            headers += self._tunnel_headers

    def _feed_behind_upgrade(self, data: bytes) -> None:
        """Read on after a request with Upgrade, which is served like any other.

        A server may ignore the field (RFC 9110 section 7.8).
        """
        if self.state is ParserState.CONNECT:
            self._behind_connect = data
            return
        if self._unread_framing:
            self._resume_body()
        if data and self.state is not ParserState.DONE:
            try:
                self._llhttp.feed_data(data)
            except httptools.HttpParserUpgrade as pause:
                self._feed_behind_upgrade(data[pause.args[0] :])

    def _resume_body(self) -> None:
        """Read the body of a request with Upgrade, which llhttp stops at.

        Java's client asks for h2c with every request. Its body must not be read as a request, so a
        new parser, given a head with only the framing, reads the body and what follows.
        """
        head = b"POST / HTTP/1.1\r\n" + self._unread_framing + b"\r\n"
        self._unread_framing = b""
        self._llhttp = httptools.HttpRequestParser(self)
        self._is_resuming = True
        self._llhttp.feed_data(head)
        self._is_resuming = False

    def _note_error(self, error: httptools.HttpParserError, data: bytes) -> None:
        # Bytes after a last request are ignored.
        if self.state is not ParserState.DONE:
            self._end_with(self._refusal(error, data))

    def _end_with(self, error: ProxyError) -> None:
        self.state = ParserState.DONE
        self._events.append(error)

    def _refusal(self, error: httptools.HttpParserError, data: bytes) -> ProxyError:
        if isinstance(error.__context__, ProxyError):
            return error.__context__
        if self.state is ParserState.BODY:
            return CallerError(kinds.BAD_BODY)
        if data[:2] == b"\x16\x03":  # RFC 8446 section 5.1: a handshake record
            return CallerError(kinds.TLS_ON_HTTP)
        # llhttp's words for a version that is well-formed, and for the preface of HTTP/2 (RFC 9113
        # section 3.4); a malformed one (RFC 9112 section 2.3) is a request that cannot be read.
        if str(error) in ("Invalid HTTP version", "Pause on PRI/Upgrade"):
            return CallerError(kinds.VERSION)
        return CallerError(kinds.UNREADABLE)


def _framing(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the header lines for the body's framing (RFC 9112 section 6); empty without a body."""
    lines = [
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name.lower() in (b"content-length", b"transfer-encoding")
    ]
    return b"".join(lines)
