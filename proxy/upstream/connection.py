"""One connection to the upstream, and one HTTP/1.1 exchange at a time on it.

Not a general HTTP client, because those accept unsolicited responses and resend requests: here an
unsolicited response closes the connection, nothing is sent twice, and a truncated body is an error.

::

    async with connection:                      always released at the end
        connection.start(head, ...)             the request's head (and a small body) goes out
        await connection.write(block)           more body, with back-pressure
        head = await connection.wait_for_head()
        while block := await connection.read(): ...

One exchange after another takes the connection through these states::

    IDLE → AWAITING_HEAD → RECEIVING_BODY → COMPLETE → IDLE
                  any of them → FAILED
"""

import asyncio
import os
import select
import ssl
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self, cast

from proxy.errors import ProxyError, UpstreamError, kinds
from proxy.http1.deadline import Deadline
from proxy.http1.flow_control import FlowControl
from proxy.upstream.pool_share import PoolShare
from proxy.upstream.response_parser import ResponseHead, ResponseParser
from proxy.upstream.tls import explain_tls
from proxy.upstream.upstream_settings import UpstreamSettings

HIGH_WATER = 262_144
"""Bytes of a response held for a slow caller before reading from the upstream is paused."""


class ConnectionState(Enum):
    """Where a connection is in its exchange."""

    IDLE = "idle"
    """No exchange runs: a single byte closes the connection."""
    AWAITING_HEAD = "awaiting head"
    RECEIVING_BODY = "receiving body"
    COMPLETE = "complete"
    """The response has arrived completely; later errors do not affect it."""
    FAILED = "failed"


_UNFINISHED = (ConnectionState.AWAITING_HEAD, ConnectionState.RECEIVING_BODY)

_PEER_CLOSED: int = getattr(select, "POLLRDHUP", 0)
"""Reported beside resets and errors: the upstream has closed its side. Only Linux has it."""

_TURNS = 3
"""Turns of the event loop until what is in the socket has been read, with TLS and without."""


class Connection(asyncio.Protocol):
    """A connection to the upstream. The pool creates it and decides on its reuse.

    ``head`` is the response's, once received. ``awaits_caller`` is set while the rest of the
    request has to come from the caller; this time does not count against the upstream.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: UpstreamSettings,
        on_exit: "Callable[[Connection], None] | None" = None,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._on_exit = on_exit
        self._transport: asyncio.Transport | None = None
        self._readable: select.poll | None = None
        self._parser = ResponseParser()
        self._flow = FlowControl(loop)
        self._deadline = Deadline(loop, self)
        self._wake: asyncio.Future[None] | None = None
        self._blocks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._error: ProxyError | None = None
        self._active_at = self._total_at = 0.0
        self._idle_timeout = settings.idle_timeout
        self.created_at = self.idle_since = loop.time()
        self.exchanges = 0
        self.state = ConnectionState.IDLE
        self.head: ResponseHead | None = None
        self.awaits_caller = False
        self.share: PoolShare | None = None
        """The listener's that uses it, or has used it last."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the transport."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._flow.attach(self._transport)
        sock = transport.get_extra_info("socket")
        if hasattr(select, "poll"):
            self._readable = select.poll()
            self._readable.register(sock.fileno(), select.POLLIN | _PEER_CLOSED)

    def is_alive(self) -> bool:
        """Whether the connection is open and has nothing to read, neither data nor EOF."""
        if self._transport is None or self._transport.is_closing():
            return False
        return self._readable is None or not self._readable.poll(0)

    # The request.

    async def __aenter__(self) -> Self:
        """Use the connection for an exchange."""
        return self

    def start(self, data: bytes, *, bodiless: bool, total_at: float) -> None:
        """Send the head of a request, with as much of its body as is in ``data``.

        ``bodiless``: the response has no body, whatever its headers say (HEAD). ``total_at`` is
        the deadline of the exchange in loop seconds.
        """
        self.state = ConnectionState.AWAITING_HEAD
        self.head = None
        self.exchanges += 1
        self._parser.expect_response(to_head=bodiless)
        self._total_at = total_at
        self._active_at = self._loop.time()
        if (
            self._transport is None
            or self._transport.is_closing()
            or (self.exchanges == 1 and self._is_closed_by_peer())
        ):
            # Lost since it was checked out.
            error = self._error = self._closed(is_unsent=True)
            self.state = ConnectionState.FAILED
            raise error
        self._deadline.arm(min(self._active_at + self._settings.first_byte_timeout, total_at))
        self._transport.write(data)

    async def write(self, block: bytes) -> None:
        """Send more of the request's body, waiting while the upstream reads slowly.

        What the upstream has sent is read first: a server that responds early and closes resets
        the connection (RFC 9112 section 9.6), and a write would fail before that is read.
        Raises the error of the exchange, once it has failed.
        """
        if not self.is_alive():
            await self._let_loop_read()
        if self._error is not None:
            raise self._error
        if self._transport is None or self._transport.is_closing():
            raise self._closed()
        self._active_at = self._loop.time()
        self._transport.write(block)
        if self._flow.drained is not None:
            await self._flow.drained

    def pause_writing(self) -> None:
        """Make ``write`` wait."""
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        """Let ``write`` go on."""
        self._flow.resume_writing()

    # The response.

    async def wait_for_head(self) -> ResponseHead:
        """Wait for the head of the response. Raises ``UpstreamError``."""
        while self.state is ConnectionState.AWAITING_HEAD:
            self._wake = self._loop.create_future()
            await self._wake
        if self.head is None or self.state is ConnectionState.FAILED:
            assert self._error is not None
            raise self._error
        if self.state is not ConnectionState.COMPLETE:
            self._idle_timeout = self._settings.idle_timeout_of(self.head.headers)
            self._deadline.arm(self._next_deadline())
        return self.head

    def data_received(self, data: bytes) -> None:
        """Parse received bytes and wake the reader once for all of them."""
        state = self.state
        if state is ConnectionState.RECEIVING_BODY:
            # Not earlier: a head that arrives slowly does not extend its deadline.
            self._active_at = self._loop.time()
        elif state is not ConnectionState.AWAITING_HEAD:
            # Unsolicited data; even a line end, which the parser would skip.
            self.abort()
            return
        try:
            events = self._parser.feed(data)
        except UpstreamError as error:
            self.fail(error)
            return
        for event in events:
            if type(event) is ResponseHead:
                self.head = event
                self.state = ConnectionState.RECEIVING_BODY
                # Until the first block of the body arrives, the idle timeout counts from here.
                self._active_at = self._loop.time()
            elif type(event) is bytes:
                if event:
                    self._blocks.append(event)
                    self._buffered_bytes += len(event)
                else:
                    self.state = ConnectionState.COMPLETE
        if self._buffered_bytes > HIGH_WATER:
            self._pause_reading()
        if self.head is not None:
            self._notify()

    async def read(self) -> bytes:
        """Return the next block of the body as received; empty at its end.

        Raises ``UpstreamError`` (``TRUNCATED``, ``IDLE_TIMEOUT``, …) for an incomplete body.
        """
        while not self._blocks:
            if self.state is ConnectionState.COMPLETE:
                return b""
            await self._wait_for_body()
        return self.read_available()

    async def has_data_within(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for a block; return whether ``read`` would not have to wait."""
        if self._blocks or self.state is not ConnectionState.RECEIVING_BODY:
            return True
        timer = self._loop.call_later(seconds, self._notify)
        try:
            await self._wait_for_body()
        finally:
            timer.cancel()
        return bool(self._blocks) or self.state is not ConnectionState.RECEIVING_BODY

    def read_available(self) -> bytes:
        """Return what has arrived of the body, without waiting."""
        block = self._blocks.popleft() if self._blocks else b""
        if self._blocks:
            block += b"".join(self._blocks)
            self._blocks.clear()
        self._buffered_bytes = 0
        if self._flow.is_reading_paused:
            self._active_at = self._loop.time()
            self._flow.resume_reading()
        return block

    async def peek(self, limit: int) -> bytes:
        """Return the first ``limit`` bytes of the body, or a shorter body, without consuming it.

        Of an incomplete body, what has arrived.
        """
        while self.state is ConnectionState.RECEIVING_BODY and self._buffered_bytes < limit:
            await self._wait_for_body()
        return b"".join(self._blocks)[:limit]

    def eof_received(self) -> None:
        """Handle EOF: the end of a close-delimited body, otherwise an error.

        The transport closes, so that ``connection_lost`` follows.
        """
        if (
            self.state is ConnectionState.RECEIVING_BODY
            and self._is_clean_eof()
            and self._parser.feed_eof()
        ):
            self.state = ConnectionState.COMPLETE

    # The end of an exchange, or of the connection.

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the connection to the pool, which closes it if it cannot be reused."""
        if self._on_exit is None:
            self.abort()
        else:
            self._on_exit(self)

    @property
    def is_reusable(self) -> bool:
        """Whether the connection can serve another exchange.

        Reading must not be paused, or the next response would never be read. The write buffer must
        be empty, or the next request would be delayed by the rest of this one.
        """
        if self.state is ConnectionState.COMPLETE:
            is_over = self._parser.keep_alive
        else:
            is_over = self.state is ConnectionState.IDLE  # no exchange was started
        return (
            is_over
            and not self._flow.is_reading_paused
            and self._transport is not None
            and not self._transport.is_closing()
            and not self._transport.get_write_buffer_size()
        )

    def mark_idle(self, now: float) -> None:
        """Mark the connection as unused since ``now``; from here any received byte closes it."""
        self.state = ConnectionState.IDLE
        if self._blocks:  # the caller left before it was delivered
            self._blocks.clear()
            self._buffered_bytes = 0
        self.idle_since = now

    def fail(self, error: ProxyError) -> None:
        """End the exchange with ``error``, which readers get, and close the connection.

        It may be a ``CallerError``, when the request's body cannot be sent completely.
        """
        self._set_error(error)
        self.abort()
        self._notify()

    def abort(self) -> None:
        """Close the connection now; nothing more is sent or read."""
        self._deadline.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange, if one is running."""
        if exc is not None and self.state in _UNFINISHED:
            self._read_rest()
        if self.state is not ConnectionState.IDLE:
            self._set_error(self._closed(exc))
        self._transport = None
        self._readable = None
        self._deadline.cancel()
        self._flow.detach()
        self._notify()

    def due_at(self) -> float | None:
        """Return the deadline of the exchange in loop seconds; None without one."""
        if self.state not in _UNFINISHED:
            return None
        if self._flow.is_reading_paused or self.awaits_caller:
            # The caller is slow, not the upstream; the caller has its own deadlines.
            self._active_at = self._loop.time()
        return self._next_deadline()

    def on_deadline(self) -> None:
        """Fail an exchange that has taken too long."""
        if self._loop.time() >= self._total_at:
            self.fail(UpstreamError(kinds.UPSTREAM_TOTAL_TIMEOUT))
        elif self.state is ConnectionState.RECEIVING_BODY:
            self.fail(UpstreamError(kinds.UPSTREAM_IDLE_TIMEOUT))
        else:
            self.fail(UpstreamError(kinds.UPSTREAM_FIRST_BYTE_TIMEOUT))

    # Inside.

    def _is_closed_by_peer(self) -> bool:
        """Whether the upstream has reset or closed the connection, as far as the socket knows.

        Asked of new connections. Behind TLS the alert that says why may be there to read.
        """
        if self._readable is None or self._transport is None:
            return False
        if self._transport.get_extra_info("ssl_object") is not None:
            return False
        return any(flags & ~select.POLLIN for _, flags in self._readable.poll(0))

    async def _let_loop_read(self) -> None:
        """Give the event loop the turns that it needs to read, and to report a lost connection."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def _read_rest(self) -> None:
        """Read what the socket still holds of a response, after a write on it has failed.

        Transports read no more then, but the kernel keeps what had arrived before the reset.
        Behind TLS there is no way to it: the socket is closed before this connection hears of it.
        """
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return
        descriptor = transport.get_extra_info("socket").fileno()
        try:
            while self.state in _UNFINISHED and (data := os.read(descriptor, HIGH_WATER)):
                self.data_received(data)
        except OSError:
            return  # the reset itself, or nothing there

    async def _wait_for_body(self) -> None:
        if self._error is not None:
            raise self._error
        self._wake = self._loop.create_future()
        await self._wake

    def _notify(self) -> None:
        if self._wake is not None:
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None

    def _pause_reading(self) -> None:
        # Not after the end of a response: data that follows must be noticed.
        if self.state is ConnectionState.RECEIVING_BODY and not self._flow.is_reading_paused:
            self._flow.pause_reading()

    def _next_deadline(self) -> float:
        timeout = self._idle_timeout if self.head is not None else self._settings.first_byte_timeout
        return min(self._active_at + timeout, self._total_at)

    def _is_clean_eof(self) -> bool:
        """Whether the upstream itself has ended the stream.

        With TLS, an attacker in between can close the TCP connection. Only a ``close_notify``
        counts (RFC 8446 section 6.1), but asyncio reports both in the same way.
        """
        assert self._transport is not None
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return tls.read(1) == b""
        except ssl.SSLError as error:
            return isinstance(error, ssl.SSLZeroReturnError)

    def _set_error(self, error: ProxyError) -> None:
        if self.state is not ConnectionState.COMPLETE and self._error is None:
            self._error = error
            self.state = ConnectionState.FAILED

    def _closed(self, exc: Exception | None = None, *, is_unsent: bool = False) -> UpstreamError:
        if self.head is not None:
            return UpstreamError(kinds.UPSTREAM_TRUNCATED)
        if isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError):
            # With TLS 1.3 a refused client certificate is reported after the handshake
            # (RFC 8446 section 4.4.2.4).
            return UpstreamError(*explain_tls(exc))
        return UpstreamError(
            kinds.UPSTREAM_CLOSED,
            is_before_response=self.exchanges > 1 and not self._parser.has_started,
            is_unsent=is_unsent,
        )
