"""Request bodies: streamed with back-pressure, never decoded."""

import asyncio
from dataclasses import dataclass, field

from proxy.errors import CallerError, ProxyError, kinds
from proxy.forwarding.headers import CallerHeaders
from proxy.http1.writer import LAST_CHUNK, chunk
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request
from proxy.upstream.connection import Connection

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Upload:
    """Sends the body of one request upstream. ``sent_bytes`` counts without chunk framing.

    ``framed`` is a complete body until it has been sent.
    """

    request: Request
    caller: CallerHeaders
    limits: CallerLimits
    sent_bytes: int = 0
    is_finished: bool = False
    buffered_body: bytes | None = field(default=None, repr=False)
    framed: bytes | None = field(default=None, repr=False)

    async def buffer(self) -> None:
        """Read and keep the whole body, so that it can be sent again. Raises ``CallerError``.

        Only for bodies with a small declared length.
        """
        await self._send_continue()
        body = b""
        while block := await self._read():
            body += block
        self.buffered_body = body

    def framed_if_complete(self) -> bytes | None:
        """Return the whole body framed for upstream, if it has arrived already; else None.

        Raises ``CallerError`` for a body over the limit.
        """
        if self.buffered_body is not None:
            self.sent_bytes, self.is_finished = len(self.buffered_body), True
            return self.buffered_body
        if self.framed is not None or not self.request.body.complete:
            return self.framed
        body = self.request.body.read_available()
        self.sent_bytes = len(body)
        if self.caller.length is None:
            self.limits.check_body(len(body))
            body = (chunk(body) if body else b"") + LAST_CHUNK
        elif len(body) != self.caller.length:  # as in _finish
            raise CallerError(kinds.BAD_BODY)
        self.framed, self.is_finished = body, True
        return body

    async def run(self, connection: Connection) -> None:
        """Send the body as it arrives. An error ends the exchange on ``connection``."""
        try:
            await self._send(connection)
        except ProxyError as error:
            connection.fail(error)
        except ConnectionError:
            connection.abort()  # The caller has closed its connection.

    async def _send(self, connection: Connection) -> None:
        await self._send_continue()
        while block := await self._read_block(connection):
            self._count(len(block))
            await connection.write(chunk(block) if self.caller.chunked else block)
        if self.caller.chunked:
            await connection.write(LAST_CHUNK)
        self._finish()

    async def _send_continue(self) -> None:
        if self.caller.expects_continue and self.request.version >= (1, 1):
            await self.request.connection.deliver(_CONTINUE)

    async def _read_block(self, connection: Connection) -> bytes:
        connection.awaits_caller = True
        try:
            return await self._read()
        finally:
            connection.awaits_caller = False

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(self.limits.idle_timeout):
                return await self.request.body.read()
        except TimeoutError:
            raise CallerError(kinds.SLOW_BODY) from None

    def _finish(self) -> None:
        # The parser ensures this. If it were wrong, the upstream would read the next request on
        # the connection as the rest of this one.
        if self.caller.length is not None and self.sent_bytes != self.caller.length:
            raise CallerError(kinds.BAD_BODY)
        self.is_finished = True

    def _count(self, size: int) -> None:
        self.sent_bytes += size
        self.limits.check_body(self.sent_bytes)
