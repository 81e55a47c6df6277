"""Our two connections without a network, fed a piece at a time."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import CallerError, ProxyError
from proxy.forwarding.headers import CallerHeaders
from proxy.server.connection import CallerConnection
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request, Response
from proxy.server.server import Server
from proxy.upstream.connection import Connection, Deadlines

LOOP = asyncio.new_event_loop()
"""One loop for all examples: a hundred thousand of them make one each otherwise."""

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """A transport that leads nowhere: it notes what was done with it."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._socket, self._other = socket.socketpair()
        self.written = b""
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket, which nothing ever comes through."""
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        """Whether it has been closed or aborted."""
        return self.aborted

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note what is sent."""
        self.written += data

    def can_write_eof(self) -> bool:
        """Say no, so that nobody waits for what will not come."""
        return False

    def get_write_buffer_size(self) -> int:
        """Say that everything is sent at once."""
        return 0

    def pause_reading(self) -> None:
        """Go on all the same: pieces come when the test feeds them."""

    def resume_reading(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Close, as ``abort`` does."""
        self.abort()

    def abort(self) -> None:
        """Note it."""
        self.aborted = True

    def free(self) -> None:
        """Give the sockets back."""
        self._socket.close()
        self._other.close()


@dataclass(frozen=True)
class ResponseResult:
    """What the upstream side made of an answer; with a ``failure``, the rest says nothing."""

    failure: str = ""
    complete: bool = False
    reusable: bool = False
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


def upstream(pieces: Iterable[bytes], *, bodiless: bool, ended: bool) -> ResponseResult:
    """Feed an answer to a connection to the bank; return what it made of it."""
    connection = Connection(LOOP, Deadlines())
    wire = FakeTransport(connection)
    connection.connection_made(wire)
    connection.start(b"", bodiless=bodiless, total_at=LOOP.time() + 3600)
    for piece in pieces:
        if piece and not wire.aborted:
            connection.data_received(piece)
    if ended and not wire.aborted:
        connection.eof_received()
    if ended or wire.aborted:
        reusable = connection.is_reusable
        connection.connection_lost(None)
    else:
        reusable = connection.is_reusable
    connection.abort()
    wire.free()
    if connection._error is not None:
        return ResponseResult(failure=connection._error.kind.name)
    return ResponseResult(
        complete=connection.complete,
        reusable=reusable,
        status=connection.status,
        headers=tuple(connection._headers),
        body=connection.read_available(),
    )


Spoken = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes]
"""A request: method, target, headers, body."""


@dataclass
class RequestResult:
    """What the listening side made of what a caller sent."""

    requests: list[Spoken] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    last: bool = False


def caller(pieces: Iterable[bytes]) -> RequestResult:
    """Feed a caller's bytes to a connection of ours; return the requests that came of them."""
    return LOOP.run_until_complete(_caller(pieces))


async def _caller(pieces: Iterable[bytes]) -> RequestResult:
    heard = RequestResult()

    async def handle(request: Request) -> Response:
        try:
            CallerHeaders(request.headers)
            body = b""
            while block := await request.body.read():
                body += block
        except CallerError as error:
            heard.refusals.append(error.kind.name)
            return Response(GOOD, keep_alive=False)
        heard.requests.append((request.method, request.target, tuple(request.headers), body))
        heard.last = not request.keep_alive
        return Response(GOOD, keep_alive=request.keep_alive)

    def refuse(error: ProxyError) -> Response:
        heard.refusals.append(error.kind.name)
        return Response(GOOD, keep_alive=False)

    server = Server(handle, refuse, CallerLimits())
    connection: CallerConnection = server()
    wire = FakeTransport(connection)
    connection.connection_made(wire)
    for piece in pieces:
        if piece and not wire.aborted:
            connection.data_received(piece)
        await _settle()
    connection.eof_received()
    await _settle()
    connection.connection_lost(None)
    await _settle()
    await server.tasks.cancel()
    wire.free()
    return heard


async def _settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)
