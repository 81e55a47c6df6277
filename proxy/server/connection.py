"""A caller's connection: reads requests strictly, serves them in order, ends without losing words.

A request is served once its head is here; its body may still be on its way. What cannot be
read as a request is refused in our words, and nothing of it is echoed.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, cast

import httptools

from proxy.errors import CallerError, ProxyError, kinds
from proxy.server.limits import CallerLimits
from proxy.server.messages import NO_BODY, Body, Request, Response
from proxy.tasks import Tasks

Handler = Callable[[Request], Awaitable[Response]]

LINGER = 2.0
"""Seconds that a refused caller is listened to, so that it reads why before it is cut off."""

RESET_POLL_INTERVAL = 1.0
"""Seconds between looks at the socket of a caller that is made to wait."""

MAX_PIPELINED = 64
"""Requests that may wait behind the one being served; a caller that sends more is cut off."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_WHITE_SPACE = (b" ", b"\t")
_VERSIONS = {"1.1": (1, 1), "1.0": (1, 0)}


class ConnectionOwner(Protocol):
    """What a connection asks of the server that made it."""

    handle: Handler
    refuse: Callable[[ProxyError], Response]
    loop: asyncio.AbstractEventLoop
    tasks: Tasks

    def connection_opened(self, connection: "CallerConnection") -> None:
        """Take a new connection."""

    def connection_closed(self, connection: "CallerConnection") -> None:
        """Forget a connection."""


class CallerConnection(asyncio.Protocol):
    """One connection of a caller. ``serving`` is the request under way."""

    def __init__(self, server: ConnectionOwner, limits: CallerLimits) -> None:
        self._server = server
        self._loop = server.loop
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[Request | ProxyError] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._idle_since = self._loop.time()
        self._head_since = 0.0
        # Bytes of the head under way in earlier chunks, and the size of the present one.
        self._fed = 0
        self._chunk = 0
        self._reading: Request | None = None
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        # The framing of a body that llhttp will not read, because its request has an Upgrade.
        self._resumed_framing = b""
        self._resuming = False
        self._ignores_input = False
        self._closing = False
        self._eof_at = 0.0
        self._response_started = False
        self.is_tls = False
        self.serving: Request | None = None

    # What the request's way uses.

    async def deliver(self, data: bytes) -> None:
        """Send ``data``, waiting while the caller takes it slowly.

        Raises ``ConnectionError`` when the caller is gone or has taken nothing for too long.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The caller is gone.")
        self._response_started = True
        transport.write(data)
        if self._drained is not None:
            await self._taken(transport)

    def reset(self) -> None:
        """End the connection so that it cannot be taken for the clean end of an answer."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def peer_certificate(self) -> Mapping[str, Any] | None:
        """Return the certificate that the caller showed, as ``ssl`` decodes it, if any."""
        return None if self._transport is None else self._transport.get_extra_info("peercert")

    def local_address(self) -> tuple[str, int] | None:
        """Return the address and port that the caller has reached; None on a Unix socket."""
        name = None if self._transport is None else self._transport.get_extra_info("sockname")
        return (name[0], name[1]) if isinstance(name, tuple) else None

    # What the server uses.

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read or served."""
        return self.is_waiting and not self._in_head

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being served; the head of a request may be on its way."""
        return self.serving is None and not self._queue

    def close(self) -> None:
        """Take no more requests: an idle connection ends now, a busy one after its answer."""
        self._closing = True
        if self.is_idle and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End now, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def refuse(self, error: ProxyError) -> None:
        """Answer with ``error`` in place of the next request, listen no more, and close."""
        self._ignores_input = True
        self._in_head = False
        self._queue.append(error)
        self._notify()

    # What the bodies use.

    def pause_reading(self) -> None:
        """Make the caller wait."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._look_later()

    def resume_reading(self) -> None:
        """Let the caller go on."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        self._task = self._server.tasks.spawn("connection", self._serve())
        self._server.connection_opened(self)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Read requests out of what has come."""
        if self._ignores_input:
            return
        self._chunk = len(data)
        self._fed += self._chunk
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as pause:
                self._data_behind(data[pause.args[0] :])
                return
        except httptools.HttpParserError as error:
            self._unreadable(error, data)
            return
        reading = self._reading
        if reading is not None and reading.body is NO_BODY:
            reading.body = Body(self)
        if self._in_head:
            if self._fed > self._limits.max_head:
                self.refuse(CallerError(kinds.TOO_LARGE))
            elif not self._head_since:
                self._head_since = self._loop.time()
                self._arm()
        elif reading is not None and self._fed > self._limits.max_head:
            self._fail_body(reading, CallerError(kinds.TOO_LARGE))  # trailers without end
        if self._queue:
            self._notify()

    def eof_received(self) -> bool:
        """Keep a connection whose caller only ends its sending, until its answer is out.

        The same sign comes from a caller that has gone away; so an answer without a first byte
        after a while is given up. TLS knows no half-closed connections.
        """
        if self._reading is not None or self.is_waiting or self.is_tls:
            return False
        self._closing = True
        self._eof_at = self._loop.time()
        self._arm()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way: there is nobody left to answer."""
        self._transport = None
        self._server.connection_closed(self)
        if self._reading is not None:
            self._reading.body.fail(ConnectionResetError("The caller is gone."))
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Make ``deliver`` wait."""
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let ``deliver`` go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._fed = 0
        self._target = b""
        self._headers = []

    def on_url(self, target: bytes) -> None:
        """Collect the request-target, which may come in pieces."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers are dropped."""
        if self._in_head:
            if value[-1:] in _WHITE_SPACE:
                value = value.rstrip(b" \t")
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Queue the request; raises ``CallerError`` into the parser where it is refused."""
        if self._resuming:
            self._in_head = False
            return
        parser = self._parser
        version = _VERSIONS.get(parser.get_http_version())
        if version is None:
            raise CallerError(kinds.VERSION)
        if len(self._queue) >= MAX_PIPELINED:
            raise CallerError(kinds.PIPELINED)
        limits = self._limits
        if self._fed + self._chunk > limits.max_line or len(self._headers) > limits.max_headers:
            limits.check_head(self._target, self._headers)
        self._in_head = False
        self._head_since = 0.0
        method = parser.get_method().decode("ascii")
        keep_alive = parser.should_keep_alive() and method != "CONNECT"
        if parser.should_upgrade() and method != "CONNECT":
            self._resumed_framing = _framing(self._headers)
        request = Request(self, method, self._target, version, self._headers, keep_alive)
        self._reading = request
        self._queue.append(request)

    def on_body(self, block: bytes) -> None:
        """Hand a block of the body on."""
        assert self._reading is not None
        if self._reading.body is NO_BODY:
            self._reading.body = Body(self)
        self._reading.body.feed(block)
        self._fed = 0

    def on_message_complete(self) -> None:
        """End the body; after a last request, listen no more."""
        if self._resumed_framing:
            return
        request, self._reading = self._reading, None
        if request is not None:
            if request.body is not NO_BODY:
                request.body.finish()
            self._ignores_input = not request.keep_alive

    # Inside.

    def _data_behind(self, rest: bytes) -> None:
        """Go on behind a request to change the protocol, which is answered like any other."""
        if self._resumed_framing:
            self._resume()
        if rest and not self._ignores_input:
            self.data_received(rest)
        elif self._queue:
            self._notify()

    def _resume(self) -> None:
        """Read on in the body of a request with an Upgrade, which llhttp takes for its end.

        Java's client asks for h2c with every request. What it sends as a body must be nothing
        but that: another parser, told only the framing, reads it and whatever follows.
        """
        head = b"POST / HTTP/1.1\r\n" + self._resumed_framing + b"\r\n"
        self._resumed_framing = b""
        assert self._reading is not None
        self._reading.body = Body(self)
        self._parser = httptools.HttpRequestParser(self)
        self._resuming = True
        self._parser.feed_data(head)
        self._resuming = False

    def _unreadable(self, error: httptools.HttpParserError, data: bytes) -> None:
        if self._ignores_input:
            # Bytes behind a request that was the last one by its own word.
            self._notify()
            return
        if self._reading is None:
            self.refuse(_refusal(error, data))
            return
        refused = isinstance(error.__context__, ProxyError)
        self._fail_body(
            self._reading, _refusal(error, data) if refused else CallerError(kinds.BAD_BODY)
        )
        self._notify()

    def _fail_body(self, request: Request, refusal: ProxyError) -> None:
        """Let a request whose body is none be answered with why, and listen no more."""
        self._ignores_input = True
        if request.body is NO_BODY:
            request.body = Body(self)
        request.body.fail(refusal)

    async def _serve(self) -> None:
        """Serve requests in their order, until one is the last."""
        handle, queue = self._server.handle, self._queue
        try:
            while True:
                while not queue:
                    self._wake = self._loop.create_future()
                    await self._wake
                request = queue.popleft()
                if isinstance(request, ProxyError):
                    await self.deliver(self._server.refuse(request).data)
                    break
                self.serving = request
                self._response_started = False
                answer = await handle(request)
                if answer.data:
                    await self.deliver(answer.data)
                self.serving = None
                if not self._may_go_on(request, answer):
                    break
        except BaseException as error:
            self.abort()
            if not isinstance(error, ConnectionError):
                raise
        else:
            await self._end()

    def _may_go_on(self, request: Request, answer: Response) -> bool:
        """Whether another request may follow on this connection."""
        if not (request.body.complete and answer.keep_alive):
            # Whatever follows is not read as a request (RFC 9112 section 9.6).
            self._ignores_input = True
            return False
        if self._closing and not self._queue:
            return False
        if request.body is not NO_BODY:
            request.body.discard()
        self._idle_since = self._loop.time()
        if self._timer is None or self._head_since:
            self._arm()
        return True

    async def _end(self) -> None:
        """Close. A caller that may still be sending is first given the time to read why.

        To close on bytes that have not been read would reset the connection, and the answer
        might be lost.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._ignores_input and transport.can_write_eof() and not self._eof_at:
            self.resume_reading()
            transport.write_eof()
            await asyncio.sleep(LINGER)
        transport.close()

    def _notify(self) -> None:
        if self._wake is not None:
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None

    async def _taken(self, transport: asyncio.Transport) -> None:
        while self._drained is not None:
            held = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.idle_timeout):
                    await asyncio.shield(self._drained)
            except TimeoutError:
                if transport.get_write_buffer_size() >= held:
                    self.reset()
                    raise ConnectionResetError("The caller does not take its answer.") from None
        if self._transport is None:
            raise ConnectionResetError("The caller is gone.")

    def _look_later(self) -> None:
        if self._look is None:
            self._look = self._loop.call_later(RESET_POLL_INTERVAL, self._look_now)

    def _look_now(self) -> None:
        """End the connection of a caller that has reset it while it was made to wait.

        Who does not read learns nothing of a reset from the event loop; the socket knows.
        """
        self._look = None
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
        else:
            self._look_later()

    def _due(self) -> float | None:
        """Return when, in loop seconds, this connection has waited long enough, if it waits."""
        if self.serving is not None or self._queue:
            if self._eof_at and not self._response_started:
                return self._eof_at + self._limits.half_close_timeout
            return None
        if self._head_since:
            return self._head_since + self._limits.header_timeout
        return self._idle_since + self._limits.keepalive_timeout

    def _arm(self) -> None:
        # As upstream: a timer that fires too early looks again, so that an ordinary request
        # neither makes nor cancels one.
        at = self._due()
        if at is None or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        at = self._due()
        if at is None:
            return
        if self._loop.time() < at:
            self._arm()
        elif self._head_since:
            self._head_since = 0.0
            self.refuse(CallerError(kinds.SLOW_HEAD))
        else:
            self.abort()


def _framing(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the lines that say how long a body is; empty where there is none."""
    lines = [
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name.lower() in (b"content-length", b"transfer-encoding")
    ]
    return b"".join(lines)


def _refusal(error: httptools.HttpParserError, data: bytes) -> ProxyError:
    """Return our refusal for what the parser refused. Its own text, which may quote, is dropped."""
    if isinstance(error.__context__, ProxyError):
        return error.__context__
    if data[:2] == b"\x16\x03":
        return CallerError(kinds.TLS_ON_HTTP)
    if "version" in str(error).lower():
        return CallerError(kinds.VERSION)
    return CallerError(kinds.UNREADABLE)
