"""Bodies, both ways: streamed with back-pressure, never held whole, never decoded."""

import asyncio
from dataclasses import dataclass

from aiohttp import StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest

from proxy.errors import CallerError, ProxyError
from proxy.facts import RequestRecord
from proxy.headers import CallerHeaders
from proxy.server import cut
from proxy.upstream import Connection

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(slots=True)
class Upload:
    """The body of one request on its way upstream. ``idle`` is the caller's patience, seconds."""

    content: StreamReader
    writer: AbstractStreamWriter
    caller: CallerHeaders
    idle: float
    sent: int = 0
    finished: bool = False

    def at_once(self) -> bytes | None:
        """Return the whole body framed for upstream, if it has arrived already."""
        if not self.content.is_eof() or self.content.exception() is not None:
            return None
        body = self.content.read_nowait(-1)
        self.sent = len(body)
        self.finished = True
        if not self.caller.chunked:
            return body
        return (chunk(body) if body else b"") + LAST_CHUNK

    async def run(self, connection: Connection) -> None:
        """Send the body as it comes; whatever stops it also ends the exchange."""
        try:
            await self._send(connection)
        except ProxyError as error:
            connection.fail(error)
        except RequestPayloadError:
            connection.fail(CallerError(400, "bad-body", "The body's chunks are not valid."))
        except ConnectionError:
            connection.abort()  # The caller is gone; its handler is being cancelled.

    async def _send(self, connection: Connection) -> None:
        if self.caller.expects_continue:
            await self.writer.write(_CONTINUE)
        while block := await self._next(connection):
            self.sent += len(block)
            await connection.write(chunk(block) if self.caller.chunked else block)
        if self.caller.chunked:
            await connection.write(LAST_CHUNK)
        self.finished = True

    async def _next(self, connection: Connection) -> bytes:
        connection.awaits_caller = True
        try:
            async with asyncio.timeout(self.idle):
                return await self.content.readany()
        except TimeoutError:
            raise CallerError(408, "slow-body", "The body of the request did not arrive.") from None
        finally:
            connection.awaits_caller = False


def chunk(block: bytes) -> bytes:
    """Return ``block`` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(block), block)


async def download(
    connection: Connection,
    request: BaseRequest,
    record: RequestRecord,
    head: bytes,
    *,
    chunked: bool,
) -> None:
    """Send an answer to the caller as it comes; the head goes out with the first block.

    When the answer breaks off, the caller's connection is cut, because only a broken end tells
    the truth; raises the ``ProxyError`` that broke it.
    """
    writer = request.writer
    try:
        while block := await connection.read():
            record.received_bytes += len(block)
            await writer.write(head + (chunk(block) if chunked else block))
            head = b""
    except ProxyError:
        cut(request)
        raise
    if head or chunked:
        await writer.write(head + (LAST_CHUNK if chunked else b""))
