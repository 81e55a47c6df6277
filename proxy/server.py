"""The listening side: aiohttp's low-level server, answering its own errors in our words."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from proxy.errors import CallerError, ProxyError, internal

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Answer(web.StreamResponse):
    """Bytes for the caller, head and body together, written in one go.

    aiohttp's own responses build their head from a multidict; ours comes finished from the
    forwarder. With no ``data``, everything has been written already.
    """

    def __init__(self, data: bytes = b"", *, keep_alive: bool) -> None:
        # The base class's constructor would make the headers that this class has no use for.
        self._data = data
        self._keep_alive = keep_alive

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Write what there is to write; aiohttp calls this once the handler is done."""
        if self._data:
            await request.writer.write(self._data)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the end of the body stands in its own framing."""


Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]
Refuse = Callable[[BaseRequest, ProxyError], Answer]


class CallerConnection(RequestHandler):
    """A caller's connection. What cannot be read is answered by ``refuse``, never echoed."""

    __slots__ = ("_refuse",)

    def __init__(self, manager: "Server", *, refuse: Refuse, **options: Any) -> None:
        super().__init__(manager, **options)
        self._refuse = refuse

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that aiohttp could not read."""
        if isinstance(exc, HttpProcessingError):
            return self._refuse(request, unreadable(exc))
        return self._refuse(request, internal(exc or RuntimeError("no cause")))


class Server(web.Server):
    """Makes a ``CallerConnection`` for each connection; ``handler`` answers its requests."""

    def __init__(self, handler: Handler, refuse: Refuse, **options: Any) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            **options,
        )
        self._refuse = refuse

    def __call__(self) -> RequestHandler:
        """Make the protocol for a new connection."""
        loop = asyncio.get_running_loop()
        return CallerConnection(self, refuse=self._refuse, loop=loop, **self._kwargs)


def unreadable(error: HttpProcessingError) -> CallerError:
    """Return our refusal for what aiohttp's parser refused. Its text, which quotes, is dropped."""
    if isinstance(error, LineTooLong) or "Too many headers" in error.message:
        return CallerError(
            431, "too-large", "The request line, a header or their number exceeds the limit."
        )
    if isinstance(error, BadStatusLine) and "version" in error.message:
        return CallerError(505, "version", "Send HTTP/1.1.")
    if "HTTPS traffic" in error.message:
        return CallerError(400, "tls-on-http", "This port speaks plain HTTP; use http://.")
    return CallerError(400, "unreadable", "The request is not valid HTTP/1.1.")


def cut(request: BaseRequest) -> None:
    """End the caller's connection so that it cannot be taken for the clean end of an answer."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
