"""One connection to the upstream, and one HTTP/1.1 exchange at a time on it.

Written by us because a general client does the wrong thing between an application and its
money: here an answer that nobody asked for closes the connection, nothing is ever sent twice,
and a body cut short is an error. The parser is llhttp, in its strict mode, through httptools.

An exchange reads::

    connection.start(head, ...)         the request head (and a small body) goes out
    await connection.write(block)       more body, with back-pressure
    await connection.answered()         status, reason and headers are there
    while block := await connection.read(): ...
    connection.is_reusable              whether another exchange may follow
"""

import asyncio
import re
import select
import ssl
from collections import deque
from dataclasses import dataclass
from typing import cast

import httptools

from proxy.errors import ProxyError, UpstreamError, kinds
from proxy.forwarding.headers import ResponseHeaders
from proxy.upstream.tls import explain_tls

HIGH_WATER = 262_144
"""Bytes of an answer held for a slow caller before the upstream is made to wait."""

MAX_HEAD = 131_072
"""Bytes; an answer whose head is longer is no answer, nor is one with such trailers."""

_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long, in seconds, each part of an exchange may take.

    ``first_byte`` runs from the last byte sent to the head of the answer, ``idle`` between
    blocks of a body, ``total`` from the start of the exchange to its end.
    """

    first_byte: float = 60.0
    idle: float = 60.0
    total: float = 600.0


_NO_HEADERS = ResponseHeaders(())


class Connection(asyncio.Protocol):
    """A connection to the upstream. Made by the pool, which alone decides on its reuse."""

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._transport: asyncio.Transport | None = None
        self._readable: select.poll | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.created_at = self.idle_since = loop.time()
        self.exchanges = 0
        self._busy = False
        self._active_at = self._total_at = self._timer_at = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self.head: ResponseHeaders = _NO_HEADERS
        self.complete = False
        self.awaits_caller = False
        self._error: ProxyError | None = None
        self._head_done = False
        self._head_taken = False
        self._bodiless = False
        self._keep_alive = False
        self._response_started = False
        self._paused = False
        self._overhead = 0
        self._blocks: deque[bytes] = deque()
        self._buffered_bytes = 0

    # What the forwarder does with it.

    def start(self, head: bytes, *, bodiless: bool, total_at: float) -> None:
        """Send the head of a request (and what is there of its body).

        ``bodiless`` says that the answer has no body whatever its headers say (HEAD);
        ``total_at`` is when, in loop seconds, the exchange must be over.
        """
        self._reset()
        self._busy = True
        self._bodiless = bodiless
        self.exchanges += 1
        self._total_at = total_at
        self._active_at = self._loop.time()
        if self._transport is None or self._transport.is_closing():
            # Lost between the moment it was handed out and this one.
            raise self._closed()
        self._arm()
        self._transport.write(head)

    async def write(self, block: bytes) -> None:
        """Send more of the request's body, waiting while the upstream reads slowly."""
        if self._error is not None:
            raise self._error
        if self._transport is None or self._transport.is_closing():
            raise self._closed()
        self._active_at = self._loop.time()
        self._transport.write(block)
        if self._drained is not None:
            await self._drained

    async def wait_for_head(self) -> None:
        """Wait for the head of the answer. Raises ``UpstreamError``."""
        while not self._head_done:
            await self._woken()
        if self._error is not None:
            raise self._error
        self._head_taken = True
        if not self.complete:
            self._arm()

    async def read(self) -> bytes:
        """Return the next block of the body, as it came; empty at its end.

        Raises ``UpstreamError`` (``TRUNCATED``, ``IDLE_TIMEOUT``, …) when there is no clean end.
        """
        while not self._blocks:
            if self._error is not None:
                raise self._error
            if self.complete:
                return b""
            await self._woken()
        return self.read_available()

    def read_available(self) -> bytes:
        """Return all that is here of the body, without waiting."""
        block = self._blocks.popleft() if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        self._buffered_bytes = 0
        if self._paused:
            self._resume()
        return block

    async def peek(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes of the body without taking them; all of a shorter one."""
        while not self.complete and self._buffered_bytes < limit and self._error is None:
            await self._woken()
        return b"".join(self._blocks)[:limit]

    def fail(self, error: ProxyError) -> None:
        """End the exchange with ``error``: whoever waits gets it, the connection is closed.

        The error may be the caller's, when its body cannot be sent to the end.
        """
        if self._error is None and not (self.complete and self._head_taken):
            self._error = error
        self.abort()
        self._notify()

    def abort(self) -> None:
        """Close the connection now; nothing more is sent or read."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # What the pool asks.

    @property
    def is_reusable(self) -> bool:
        """Whether nothing of the exchange is left on the connection, and it stays open.

        Reading must not be paused, or the next response would never be read. No byte of the
        request may wait to be written, or the next one would wait behind it.
        """
        return (
            self.complete
            and self._keep_alive
            and self._error is None
            and not self._paused
            and self._transport is not None
            and not self._transport.is_closing()
            and not self._transport.get_write_buffer_size()
        )

    def mark_idle(self, now: float) -> None:
        """Note that no exchange runs; from ``now`` on a single byte closes the connection."""
        self._busy = False
        self._blocks.clear()  # what the caller did not stay for
        self.idle_since = now

    def is_alive(self) -> bool:
        """Whether an idle connection is open with nothing to read, not even its end."""
        if self._transport is None or self._transport.is_closing():
            return False
        return self._readable is None or not self._readable.poll(0)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if hasattr(select, "poll"):
            self._readable = select.poll()
            self._readable.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; whoever waits is woken once for all of it."""
        if not self._busy or self.complete or self._error is not None:
            # Not even a line end, which the parser would skip.
            self.abort()
            return
        self._response_started = True
        if self._head_done:
            # Not before: a head that dribbles in does not win time.
            self._active_at = self._loop.time()
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(self._parse_failure(error))
            return
        if self._overhead > MAX_HEAD and not self.complete:
            detail = "The bank's response has a head or trailers that are too long."
            self.fail(UpstreamError(kinds.UPSTREAM_MALFORMED, detail))
            return
        if not self._head_done:
            return
        if self._buffered_bytes > HIGH_WATER and not self._paused and not self.complete:
            self._pause()
        self._notify()

    def eof_received(self) -> None:
        """Take the upstream's end of the stream: the end of a body, or of our patience."""
        ends_here = not self.head.chunked and self.head.length is None
        if self._head_done and ends_here and not self.complete and self._error is None:
            self.complete = self._ended_itself()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone and end what runs on it."""
        if self._busy and not self.complete and self._error is None:
            self._error = self._closed(exc)
        self._transport = None
        self._readable = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.resume_writing()
        self._notify()

    def pause_writing(self) -> None:
        """Make ``write`` wait."""
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let ``write`` go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self.complete:
            raise _SecondAnswerError

    def on_status(self, reason: bytes) -> None:
        """Collect the reason phrase, which may come in pieces."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers are dropped."""
        if not self._head_done:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide what the head means: an interim answer, an end, or a body to come."""
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return
        if status == 101 or not 200 <= status <= 599 or not self._parser_speaks_http():
            raise _BadHeadError
        if not _REASON.fullmatch(self.reason):
            raise _BadHeadError
        self.status = status
        self.head = ResponseHeaders(self._headers)
        self._head_done = True
        # From here on to the first block of the body, this is when something last came.
        self._active_at = self._loop.time()
        if self._bodiless:
            self._keep_alive = self._parser.should_keep_alive()
            self.complete = True
            # llhttp cannot be told that this answer has no body, so it is not used again.
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, block: bytes) -> None:
        """Collect a block of the body."""
        if self._bodiless:
            raise _SecondAnswerError
        self._blocks.append(block)
        self._buffered_bytes += len(block)
        self._overhead = 0

    def on_message_complete(self) -> None:
        """Note the end of the answer, or begin again after an interim one."""
        if not self._head_done:
            self.reason = b""
            self._headers = []
        elif not self.complete:
            # Asked at the end, because trailers have a say in it.
            self._keep_alive = self._parser.should_keep_alive()
            self.complete = True
        elif self._bodiless and self.head.chunked:
            raise _SecondAnswerError  # the end of a body that must not be there

    def _parser_speaks_http(self) -> bool:
        return self._parser.get_http_version() in ("1.1", "1.0")

    # Inside.

    def _ended_itself(self) -> bool:
        """Whether the upstream has ended the stream, not somebody on the way who cut it short.

        With TLS only TLS's own end counts; asyncio reports any.
        """
        assert self._transport is not None
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return tls.read(1) == b""
        except ssl.SSLError as error:
            return isinstance(error, ssl.SSLZeroReturnError)

    def _woken(self) -> "asyncio.Future[None]":
        """Return what is done when something has come; raises the error that has."""
        if self._error is not None:
            raise self._error
        if self._transport is None:
            raise self._closed()
        self._wake = self._loop.create_future()
        return self._wake

    def _notify(self) -> None:
        if self._wake is not None:
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None

    def _pause(self) -> None:
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        self._active_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _arm(self) -> None:
        # The timer is left alone when it would fire too early: it looks again and re-arms, so
        # that an ordinary exchange neither makes nor cancels one.
        at = self._due()
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _due(self) -> float:
        patience = self._deadlines.idle if self._head_done else self._deadlines.first_byte
        return min(self._active_at + patience, self._total_at)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._busy or self.complete:
            return
        now = self._loop.time()
        if (self._paused or self.awaits_caller) and now < self._total_at:
            # The caller is the slow one; its own deadlines deal with that.
            self._active_at = now
        if now >= self._due():
            self.fail(self._timeout(now))
        else:
            self._arm()

    def _timeout(self, now: float) -> UpstreamError:
        if now >= self._total_at:
            return UpstreamError(kinds.UPSTREAM_TOTAL_TIMEOUT)
        if self._head_done:
            return UpstreamError(kinds.UPSTREAM_IDLE_TIMEOUT)
        return UpstreamError(kinds.UPSTREAM_FIRST_BYTE_TIMEOUT)

    def _closed(self, exc: Exception | None = None) -> UpstreamError:
        if self._head_done:
            return UpstreamError(kinds.UPSTREAM_TRUNCATED)
        if isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError):
            # With TLS 1.3 a refused client certificate is reported after the handshake
            # (RFC 8446 section 4.4.2.4).
            return UpstreamError(*explain_tls(exc))
        return UpstreamError(
            kinds.UPSTREAM_CLOSED,
            is_before_response=self.exchanges > 1 and not self._response_started,
        )

    def _parse_failure(self, error: Exception) -> UpstreamError:
        if isinstance(error.__context__, _SecondAnswerError):
            return UpstreamError(
                kinds.UPSTREAM_MALFORMED, "The bank sent more than one response to a request."
            )
        return UpstreamError(kinds.UPSTREAM_MALFORMED)


class _BadHeadError(Exception):
    """Raised into the parser to stop it."""


class _SecondAnswerError(Exception):
    """Raised into the parser when bytes follow a complete answer."""
