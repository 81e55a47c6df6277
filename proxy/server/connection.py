"""A caller's connection: reads requests strictly, serves them in order, closes without data loss.

Serving starts when the head is complete; the body may still be arriving. Invalid input is refused
with a message of the proxy's own that quotes none of it. While a request is served, pipelined
input stays unread.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol, cast

from proxy.errors import CallerError, ProxyError, kinds
from proxy.http1.deadline import Deadline
from proxy.http1.flow_control import FlowControl
from proxy.server.caller import NO_CALLER, Caller, caller_of
from proxy.server.limits import CallerLimits
from proxy.server.memory import EVENT_OVERHEAD, MemoryBudget
from proxy.server.messages import HIGH_WATER, NO_BODY, Body, Request, RequestHandler, Response
from proxy.server.refusals import Refusals
from proxy.server.request_parser import ParserState, RequestParser
from proxy.tasks import Tasks

LINGER = 2.0
"""Seconds that input is still read after a refusal, so that the caller can read the response."""

RESET_POLL_INTERVAL = 1.0
"""Seconds between checks of the socket for a reset while reading is paused."""

PARSED_BLOCK = 16_384
HEAD_BLOCK = 2048
"""Bytes that are parsed at a time. Between two blocks, parsing can stop: after a request, or when
the bank reads its body too slowly.
"""

ONE_REQUEST = 3
"""Number of events of a request that arrives at once: its head, its body, its end."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ConnectionOwner(Protocol):
    """What a connection needs of the server that made it."""

    handle: RequestHandler
    refuse: Callable[[ProxyError, Caller], Response]
    loop: asyncio.AbstractEventLoop
    tasks: Tasks
    memory: MemoryBudget
    refusals: Refusals

    def connection_opened(self, connection: "CallerConnection") -> None:
        """Register a new connection."""

    def connection_closed(self, connection: "CallerConnection") -> None:
        """Remove a connection."""


class CallerState(Enum):
    """Where a connection is in the exchange with its caller."""

    WAITING = "waiting"
    """No request is being served; a head may have begun to arrive."""
    SERVING = "serving"
    """A request is being served; no byte of its response has been sent."""
    RESPONDING = "responding"
    CLOSING = "closing"
    """No further request is served; the last response may still be in transit."""


class CallerConnection(asyncio.Protocol):
    """One connection of a caller. ``state`` says whether a request is being served."""

    def __init__(self, server: ConnectionOwner, limits: CallerLimits) -> None:
        self._server = server
        self._loop = server.loop
        self._limits = limits
        self._memory = server.memory
        self._transport: asyncio.Transport | None = None
        self._parser = RequestParser(limits, self)
        self._flow = FlowControl(self._loop)
        self._deadline = Deadline(self._loop, self)
        self._reset_poll: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[Request | ProxyError] = deque()
        self._queued_bytes = 0
        """Bytes of the requests that wait behind another one, without the incoming body."""
        self._wake: asyncio.Future[None] | None = None
        self._incoming: Request | None = None
        """The request whose body is arriving."""
        self._served: Request | None = None
        """The request that is being served."""
        self._unread = b""
        self._idle_since = self._loop.time()
        self._head_since = 0.0
        self._eof_at = 0.0
        self._closing = False
        self.state = CallerState.WAITING
        self.is_tls = False
        self.caller = NO_CALLER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._flow.attach(self._transport)
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        certificate = transport.get_extra_info("peercert") if self.is_tls else None
        # Now, because a closed transport does not tell any more.
        self.caller = caller_of(transport.get_extra_info("peername"), certificate)
        self._task = self._server.tasks.spawn("connection", self._serve())
        self._server.connection_opened(self)
        self._arm()

    # Requests come in.

    def data_received(self, data: bytes) -> None:  # noqa: C901 - one call for each block received
        """Parse requests from received bytes."""
        if self._unread or (
            self._incoming is None and (self._queue or self.state is not CallerState.WAITING)
        ):
            self._leave_unread(data)
            return
        size = len(data)
        if size > PARSED_BLOCK:
            self._receive_in_blocks(data)
            return
        events = self._parser.feed(data)
        for event in events:
            if type(event) is Request:
                self._incoming = event
                self._head_since = 0.0
                self._queue.append(event)
            elif event:
                self._feed_body(event)
            else:
                request, self._incoming = self._incoming, None
                if request is not None and request.body is not NO_BODY:
                    request.body.finish()
        if self._incoming is not None and self._incoming.body is NO_BODY:
            self._incoming.body = Body(self)
        elif not self._head_since and self._parser.state is ParserState.HEAD:
            self._head_since = self._loop.time()
            self._arm()
        if self._queue and (self._served is not None or len(events) > ONE_REQUEST):
            self._queued_bytes = sum(map(self._held_bytes, self._queue))
        self._memory.uncounted -= size + EVENT_OVERHEAD * len(events)
        if self._memory.uncounted < 0:
            self._memory.count()
        self._notify()  # the serving task checks whether there is a request

    def _receive_in_blocks(self, data: bytes) -> None:
        """Parse as far as the end of a request, or as much of its body as is buffered.

        Blocks are small until a body arrives, because each may hold several requests, and all of a
        block are parsed.
        """
        at = 0
        while at < len(data):
            incoming = self._incoming
            if self._queue if incoming is None else self._is_body_full():
                self._leave_unread(data[at:])
                return
            size = HEAD_BLOCK if incoming is None else PARSED_BLOCK
            self.data_received(data[at : at + size])
            at += size

    def _leave_unread(self, data: bytes) -> None:
        if self._parser.state is ParserState.DONE:
            return
        if not self._unread:
            self.pause_reading()
        self._unread += data
        self._memory.uncounted -= len(data)
        if self._memory.uncounted < 0:
            self._memory.count()

    def _read_on(self) -> None:
        """Parse the unread input, or as much as can be taken now."""
        if self._transport is None:
            return
        data, self._unread = self._unread, b""
        self._receive_in_blocks(data)
        if not (self._unread or self._is_body_full()):
            self.resume_reading()

    def _is_body_full(self) -> bool:
        """Whether the bank has yet to take what is buffered of the incoming body."""
        return self._incoming is not None and self._incoming.body.buffered_bytes > HIGH_WATER

    def _feed_body(self, event: bytes | ProxyError) -> None:
        """Pass on a block of the incoming request's body, or the error that ends it."""
        request = self._incoming
        if request is not None and request.body is NO_BODY:
            request.body = Body(self)
        if isinstance(event, ProxyError):
            if request is None:
                self._queue.append(event)  # in the place of a request
            else:
                request.body.fail(event)
        elif request is not None:
            request.body.feed(event)

    def refuse(self, error: ProxyError) -> None:
        """Respond with ``error`` in place of the next request, read no more, and close."""
        self._parser.stop()
        self._queue.append(error)
        self._notify()

    def eof_received(self) -> bool:
        """Keep a half-closed connection open until its response has been sent.

        A caller that has gone away looks the same, so a response that has not started within
        ``half_close_timeout`` is aborted. TLS has no half-closed connections.
        """
        if self._incoming is not None or self.is_waiting or self.is_tls:
            return False
        self._closing = True
        self._eof_at = self._loop.time()
        self._arm()
        return True

    # Requests are served.

    async def _serve(self) -> None:
        """Serve requests in order until the connection cannot be kept."""
        handle, queue = self._server.handle, self._queue
        try:
            while True:
                while not queue:
                    self._wake = self._loop.create_future()
                    await self._wake
                request = queue.popleft()
                if self._queued_bytes:
                    self._queued_bytes -= self._held_bytes(request) if queue else self._queued_bytes
                self.state = CallerState.SERVING
                if isinstance(request, ProxyError):
                    await self.deliver(self._server.refuse(request, self.caller).data)
                    break
                self._served = request
                response = await handle(request)
                if response.data:
                    await self.deliver(response.data)
                self.state = CallerState.WAITING
                if not self._may_keep_alive(request, response):
                    break
                # An idle connection must not hold its last request and response.
                self._served = None
                del request, response
        except BaseException as error:
            self.abort()
            if not isinstance(error, ConnectionError):
                raise
        else:
            await self._close_gracefully()

    async def deliver(self, data: bytes) -> None:
        """Send ``data``, waiting while the caller reads slowly.

        Raises ``ConnectionError`` when the connection is closed, or when the caller has read
        nothing for ``idle_timeout``.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The caller has closed the connection.")
        self.state = CallerState.RESPONDING
        transport.write(data)
        if self._flow.drained is not None:
            await self._wait_until_drained(transport)

    async def _wait_until_drained(self, transport: asyncio.Transport) -> None:
        while self._flow.drained is not None:
            buffered = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.idle_timeout):
                    await asyncio.shield(self._flow.drained)
            except TimeoutError:
                if transport.get_write_buffer_size() >= buffered:
                    self._server.refusals.note("not_read")
                    self.reset()
                    raise ConnectionResetError("The caller does not read its response.") from None
        if self._transport is None:
            raise ConnectionResetError("The caller has closed the connection.")

    def _may_keep_alive(self, request: Request, response: Response) -> bool:
        """Whether another request may follow on this connection."""
        while self._unread and not request.body.complete:
            request.body.discard()
            self._read_on()
        if not (request.body.complete and response.keep_alive):
            # What follows is not read as a request (RFC 9112 section 9.6).
            self._parser.stop()
            return False
        if request.body is not NO_BODY:
            request.body.discard()
        if request.method == "CONNECT":
            self._unread = self._parser.enter_tunnel(request) + self._unread
        self._idle_since = self._loop.time()
        if self._unread and not self._queue:
            self._read_on()
        if self._closing and not self._queue:
            return False
        if self._head_since or self._deadline.timer is None:
            self._arm()
        return True

    async def _close_gracefully(self) -> None:
        """Close; a caller that may still be sending first gets ``LINGER`` to read the response.

        Closing a socket with unread input resets the connection, and the response might be lost
        (RFC 9112 section 9.6).
        """
        self.state = CallerState.CLOSING
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        is_reading_on = self._parser.state is ParserState.DONE
        if is_reading_on and transport.can_write_eof() and not self._eof_at:
            self._unread = b""
            self.resume_reading()
            transport.write_eof()
            await asyncio.sleep(LINGER)
        transport.close()

    # The interface for requests: RequestConnection.

    def reset(self) -> None:
        """Reset the connection, so that its end is not mistaken for the end of a response."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def local_address(self) -> tuple[str, int] | None:
        """Return the local address and port of the connection; None on a Unix socket."""
        name = None if self._transport is None else self._transport.get_extra_info("sockname")
        return (name[0], name[1]) if isinstance(name, tuple) else None

    def pause_reading(self) -> None:
        """Stop reading from the caller."""
        self._flow.pause_reading()
        self._poll_for_reset()

    def resume_reading(self) -> None:
        """Read from the caller again; first what has been left unread of a body."""
        if self._unread:
            if self._incoming is not None:
                self._loop.call_soon(self._read_on)
            return
        if self._reset_poll is not None:
            self._reset_poll.cancel()
            self._reset_poll = None
        self._flow.resume_reading()

    # The interface for the server.

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read or served."""
        return self.is_waiting and self._parser.state is not ParserState.HEAD

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being served; a head may have begun to arrive."""
        is_serving = self.state is CallerState.SERVING or self.state is CallerState.RESPONDING
        return not (is_serving or self._queue)

    @property
    def served_bytes(self) -> int:
        """Bytes of the head that is being served."""
        return 0 if self._served is None else self._served.head_bytes

    @property
    def unserved_bytes(self) -> int:
        """Bytes of unfinished heads, unread input and bodies that have not been sent on."""
        size = len(self._unread) + self._parser.head_bytes
        # A single request is not added up before it is served.
        size += self._queued_bytes or sum(map(self._held_bytes, self._queue))
        if self._served is not None:
            size += self._served.body.buffered_bytes
        if self._incoming is not None and self._incoming is not self._served:
            size += self._incoming.body.buffered_bytes
        return size

    def _held_bytes(self, request: Request | ProxyError) -> int:
        """Bytes that a queued request holds. The incoming body still grows and is added later."""
        if isinstance(request, ProxyError):
            return 0
        body = 0 if request is self._incoming else request.body.buffered_bytes
        return request.head_bytes + body

    def shed(self) -> None:
        """Drop the unserved input and respond with 503: now, or after the served request."""
        error = ProxyError(kinds.MEMORY)
        self._server.refusals.note("memory")
        if self._unread:
            self._unread = b""
            self.resume_reading()
        self._head_since = 0.0
        self._queue.clear()
        self._queued_bytes = 0
        if self._incoming is not None and self._incoming is not self._served:
            self._incoming.body.drop(error)
        if self._served is not None and self._served.body.buffered_bytes:
            self._served.body.drop(error)
        self._parser.drop_head()
        self.refuse(error)

    def close(self) -> None:
        """Serve no more requests: close an idle connection now, a busy one after its response."""
        self._closing = True
        if self.is_idle and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, even in the middle of a request or response."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport and the deadline call.

    def pause_writing(self) -> None:
        """Make ``deliver`` wait."""
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        """Let ``deliver`` go on."""
        self._flow.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request that is being served."""
        self._transport = None
        self._server.connection_closed(self)
        if self._parser.state is ParserState.HEAD:
            self._parser.drop_head()  # or it would stay until cyclic garbage is collected
        self._unread = b""
        if self._incoming is not None:
            self._incoming.body.fail(ConnectionResetError("The caller has closed the connection."))
        self._deadline.cancel()
        if self._reset_poll is not None:
            self._reset_poll.cancel()
        self._flow.detach()
        if self._task is not None:
            self._task.cancel()

    def due_at(self) -> float | None:
        """Return when the wait for the caller times out, in loop seconds; None without a wait."""
        if not self.is_waiting:
            if self._eof_at and self.state is not CallerState.RESPONDING:
                return self._eof_at + self._limits.half_close_timeout
            return None
        if self._head_since:
            return self._head_since + self._limits.header_timeout
        return self._idle_since + self._limits.keepalive_timeout

    def on_deadline(self) -> None:
        """Refuse a head that takes too long; close a connection that is not used."""
        if self._head_since and self.is_waiting:
            self._head_since = 0.0
            self.refuse(CallerError(kinds.SLOW_HEAD))
        else:
            self.abort()

    # Inside.

    def _arm(self) -> None:
        at = self.due_at()
        if at is not None:
            self._deadline.arm(at)

    def _notify(self) -> None:
        if self._wake is not None:
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None

    def _poll_for_reset(self) -> None:
        if self._reset_poll is None and self._transport is not None:
            self._reset_poll = self._loop.call_later(RESET_POLL_INTERVAL, self._on_reset_poll)

    def _on_reset_poll(self) -> None:
        """Abort a connection that the caller has reset while reading was paused.

        While reading is paused, the event loop reports no reset; ``SO_ERROR`` does.
        """
        self._reset_poll = None
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
        else:
            self._poll_for_reset()
