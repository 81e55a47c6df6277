"""The sandbox bank as an HTTP server; ``dispatch.py`` handles the requests.

async with Sandbox(Settings(lifetime=5)) as sandbox:
    print(sandbox.url)                  # http://127.0.0.1:43121
    sandbox.bank.faults.append(Fault("token", code="CMN_90002", times=2))
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from proxy.sandbox import control, dispatch
from proxy.sandbox.bank import Bank
from proxy.sandbox.bank_settings import Settings
from proxy.sandbox.body_io import read_body, write_body, write_raw
from proxy.sandbox.call import Call, Reply

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # to read, not to bind
#: Limit of a request line and of a header, in bytes; tests send long ones.
_SOCKET_BUFFER = 1 << 20
_LOG = logging.getLogger("proxy.sandbox")


def _worth_telling(record: logging.LogRecord) -> bool:
    """Drop the traceback of a malformed request, which gets a 400 response."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_LOG.addFilter(_worth_telling)


class Sandbox:
    """An embedded bank. ``bank`` is its state, ``url`` its base URL after ``start``."""

    def __init__(
        self, settings: Settings | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Create a bank; ``clock`` returns Unix seconds."""
        self.bank = Bank(settings or Settings(), clock)
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._stopping = asyncio.Event()

    @property
    def url(self) -> str:
        """The base URL with the base path, without a slash at its end."""
        return self.bank.url

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._server.connections) if self._server else 0

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Listen. Raises ``OSError`` if the port is in use. Can be called again after ``stop``."""
        self._stopping.clear()
        self._server = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            logger=_LOG,
            auto_decompress=False,
            max_line_size=_SOCKET_BUFFER,
            max_field_size=_SOCKET_BUFFER,
            max_headers=4096,
        )
        family = socket.AF_INET if host == "localhost" else socket.AF_UNSPEC
        self._listener = await asyncio.get_running_loop().create_server(
            self._server, host, port, ssl=ssl_context, backlog=2048, family=family
        )
        bound = self._listener.sockets[0].getsockname()[1]
        self.bank.url = _url(self.bank.settings, host, bound, secure=ssl_context is not None)

    async def stop(self) -> None:
        """Close the port and all connections, busy ones too."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.close()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(0.1)
        if self._listener is not None:
            await self._listener.wait_closed()
        self._listener = self._server = None

    def drop_connections(self) -> None:
        """Close all open connections, busy ones too, as a restarting server does."""
        for connection in self._server.connections if self._server else ():
            connection.force_close()

    async def __aenter__(self) -> Self:
        """Start on a free port of 127.0.0.1."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = Call(
            request.method, request.raw_path, request.raw_headers, self.bank.settings.base_path
        )
        try:
            if control.is_control(call):
                return await self._send(
                    request, control.handle(await read_body(request, call), self.bank)
                )
            exchange = dispatch.admit_call(call, self.bank)
            if exchange.reply is None:
                exchange.call = await read_body(request, call, exchange.arrival)
            return await self._send(request, dispatch.serve(exchange))
        except (ConnectionError, web.RequestPayloadError):
            return _closing(request)

    async def _send(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        if reply.delay:
            await asyncio.sleep(reply.delay)
        for status in reply.interim:
            write_raw(
                request, f"HTTP/1.1 {status} Early Hints\r\nLink: </style.css>\r\n\r\n".encode()
            )
        if reply.ending in ("wire", "wire-open"):
            return await _wire(request, reply)
        if reply.ending in ("reset", "hang") and not reply.after_head:
            return await self._end(request, reply)
        if reply.ending == "clean" and isinstance(reply.body, bytes) and not reply.paced:
            return _at_once(request, reply)
        return await self._stream(request, reply)

    async def _stream(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=_headers(reply))
        length = len(reply.body) if isinstance(reply.body, bytes) else reply.length
        response.content_length = length
        await response.prepare(request)
        if reply.pause:
            await asyncio.sleep(reply.pause)
        if request.method != "HEAD":
            await write_body(response, reply, length)
        if reply.ending == "clean":
            await response.write_eof()
            return response
        return await self._end(request, reply)

    async def _end(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        if reply.ending == "hang":
            await self._stopping.wait()
        if reply.after_head:
            await asyncio.sleep(0.02)  # the proxy must have read the head before the reset arrives
        if reply.ending == "reset" and request.transport is not None:
            sock = request.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        return _closing(request)


class _SentResponse(web.StreamResponse):
    """Stands for a response that has been written to the socket already."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing."""


def _at_once(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    assert isinstance(reply.body, bytes)
    response = web.Response(status=reply.status, headers=_headers(reply), body=reply.body)
    if request.can_read_body and not request.content.is_eof():
        response.force_close()
    return response


async def _wire(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    assert isinstance(reply.body, bytes)
    write_raw(request, reply.body)
    if reply.ending == "wire-open":
        return _SentResponse()
    return _closing(request)


def _closing(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection after the written bytes; the returned response is not sent."""
    if request.transport is not None:
        request.transport.close()
    response = web.Response()
    response.force_close()
    return response


def _headers(reply: Reply) -> list[tuple[str, str]]:
    return [("Server", "candescent-sandbox"), *reply.headers]


def _url(settings: Settings, host: str, port: int, *, secure: bool) -> str:
    if settings.public_url is not None:
        return settings.public_url.rstrip("/") + settings.base_path
    name = _WILDCARDS.get(host, host)
    name = f"[{name}]" if ":" in name else name
    return f"http{'s' if secure else ''}://{name}:{port}{settings.base_path}"
