"""The server package alone, with a handler of the test."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from proxy.errors import ProxyError
from proxy.server.address import Address
from proxy.server.caller import Caller
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request, Response
from proxy.server.port import Port
from proxy.server.server import Server
from tests.support.running import DEADLINE

Handler = Callable[[Request], Awaitable[Response]]


def ok(body: bytes = b"", *, keep_alive: bool = True) -> Response:
    """Return a 200 response with ``body``."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Response(head + body, keep_alive=keep_alive)


async def echo(request: Request) -> Response:
    """Respond with the target and the body."""
    body = request.target
    while block := await request.body.read():
        body += block
    return ok(body, keep_alive=request.keep_alive)


class ListeningServer:
    """A server on a free port. ``refused_errors`` are the errors passed to ``refuse``."""

    def __init__(self, handler: Handler, limits: CallerLimits) -> None:
        self.server = Server(handler, self._refuse, limits)
        self.refused_errors: list[ProxyError] = []
        self.data_address = Address(host="127.0.0.1", port=0)

    def _refuse(self, error: ProxyError, _caller: Caller) -> Response:
        self.refused_errors.append(error)
        head = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % error.kind.status
        return Response(head, keep_alive=False)


@asynccontextmanager
async def listening(
    handler: Handler = echo, limits: CallerLimits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ListeningServer]:
    """Listen; check at the end that all connections are closed."""
    front = ListeningServer(handler, limits or CallerLimits())
    port = Port(front.server, front.data_address, refusals=front.server.refusals)
    front.data_address = await port.open(tls, 0o600)
    try:
        yield front
    finally:
        port.close()
        await front.server.abort()
    async with asyncio.timeout(DEADLINE):
        while front.server.connection_count:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.01)
