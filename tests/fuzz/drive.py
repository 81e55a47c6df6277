"""Feeds both connection classes without a network, piece by piece."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import CallerError, ProxyError
from proxy.forwarding.headers import CallerHeaders
from proxy.server.caller import Caller
from proxy.server.connection import CallerConnection
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request, Response
from proxy.server.server import Server
from proxy.upstream.connection import Connection, ConnectionState
from proxy.upstream.response_parser import ResponseHead
from proxy.upstream.upstream_settings import UpstreamSettings

LOOP = asyncio.new_event_loop()
"""One event loop for all examples."""

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """A transport without a network, which records its calls."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._socket, self._other = socket.socketpair()
        self.written = b""
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a socket without data."""
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        """Whether it has been closed or aborted."""
        return self.aborted

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Record the data."""
        self.written += data

    def can_write_eof(self) -> bool:
        """Return False, so that the connection closes at once."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return 0: everything counts as sent."""
        return 0

    def pause_reading(self) -> None:
        """Do nothing: the test decides when data arrives."""

    def resume_reading(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Close, as ``abort`` does."""
        self.abort()

    def abort(self) -> None:
        """Record the abort."""
        self.aborted = True

    def free(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._other.close()


@dataclass(frozen=True)
class ResponseResult:
    """What the upstream connection parsed of a response; with ``failure``, the rest is unset."""

    failure: str = ""
    complete: bool = False
    reusable: bool = False
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


def upstream(pieces: Iterable[bytes], *, bodiless: bool, ended: bool) -> ResponseResult:
    """Feed a response to an upstream connection; return what it parsed."""
    connection = Connection(LOOP, UpstreamSettings())
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
    head = connection.head or ResponseHead(0, b"", [])
    return ResponseResult(
        complete=connection.state is ConnectionState.COMPLETE,
        reusable=reusable,
        status=head.status,
        headers=tuple(head.headers),
        body=connection.read_available(),
    )


Spoken = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes]
"""A request: method, target, headers, body."""


@dataclass
class RequestResult:
    """What a server connection parsed of a client's bytes."""

    requests: list[Spoken] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    last: bool = False


def caller(pieces: Iterable[bytes]) -> RequestResult:
    """Feed a client's bytes to a server connection; return the parsed requests."""
    return LOOP.run_until_complete(_caller(pieces))


async def _caller(pieces: Iterable[bytes]) -> RequestResult:
    recorded = RequestResult()

    async def handle(request: Request) -> Response:
        try:
            CallerHeaders(request.headers)
            body = b""
            while block := await request.body.read():
                body += block
        except CallerError as error:
            recorded.refusals.append(error.kind.name)
            return Response(GOOD, keep_alive=False)
        recorded.requests.append((request.method, request.target, tuple(request.headers), body))
        recorded.last = not request.keep_alive
        return Response(GOOD, keep_alive=request.keep_alive)

    def refuse(error: ProxyError, _caller: Caller) -> Response:
        recorded.refusals.append(error.kind.name)
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
    return recorded


async def _settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)
