"""An HTTP client on a raw socket: sends any bytes, and reads responses strictly."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.server.address import Address
from tests.support.running import DEADLINE

GET = b"GET /echo/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class RawResponse:
    """One response; ``headers`` in their order and case."""

    version: bytes
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return all values of a header."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> str | None:
        """Return the value of a header that occurs at most once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The name of the proxy's error, from the problem's type; empty for other responses."""
        if self.header("x-proxy-error-source") is None:
            return ""
        assert self.header("Content-Type") == "application/problem+json"
        problem = self.json()
        assert problem["status"] == self.status
        assert problem["transactionId"] == self.header("transactionId")
        return str(problem["type"]).rpartition(":")[2]


class RawConnection:
    """A client connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *blocks: bytes, every: float = 0.0) -> None:
        """Send blocks one by one, ``every`` seconds apart."""
        for at, block in enumerate(blocks):
            if at:
                await asyncio.sleep(every)
            self.writer.write(block)
            await self.writer.drain()

    async def read_response(self, *, bodiless: bool = False) -> RawResponse:
        """Read one response, which may be an interim one (RFC 9110 section 15.2)."""
        async with asyncio.timeout(DEADLINE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head[:-4].split(b"\r\n")
            version, status, reason = status_line.split(b" ", 2)
            headers = [
                (name, value) for name, _, value in (line.partition(b": ") for line in lines)
            ]
            response = RawResponse(version, int(status), reason, headers, b"")
            if bodiless or response.status in (204, 304) or response.status < 200:
                return response
            return RawResponse(
                version, response.status, reason, headers, await self._body(response)
            )

    async def _body(self, response: RawResponse) -> bytes:
        length = response.header("Content-Length")
        coding = response.header("Transfer-Encoding")
        assert length is None or coding is None, "two framings"
        if length is not None:
            return await self.reader.readexactly(int(length))
        if coding is None:
            return await self.reader.read()
        assert coding == "chunked"
        body = b""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            block = await self.reader.readexactly(size + 2)
            assert block.endswith(b"\r\n")
            if not size:
                return body
            body += block[:-2]

    async def ask(self, request: bytes = GET) -> RawResponse:
        """Send one request and read the response."""
        await self.send(request)
        return await self.read_response(bodiless=request.startswith(b"HEAD "))

    async def ask_for_tunnel(self, connect: bytes) -> RawResponse:
        """Send a CONNECT and read the response, which has no body if it is a success."""
        await self.send(connect)
        return await self.read_response(bodiless=True)

    async def read_to_end(self) -> bytes:
        """Read until the proxy closes the connection; return what was read."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()

    async def ends_with_reset(self) -> bool:
        """Read until the connection ends; return whether by a reset."""
        try:
            await self.read_to_end()
        except ConnectionResetError:
            return True
        return False

    def stop_reading(self) -> None:
        """Stop reading, so that the socket's buffers fill up."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it can read too

    def end_sending(self) -> None:
        """Close the sending direction only."""
        self.writer.write_eof()

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    def reset(self) -> None:
        """Reset the connection."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.writer.transport.abort()


class HasAddress(Protocol):
    """A proxy, or a part of one, with an address to connect to."""

    @property
    def data_address(self) -> Address:
        """The address of the data port."""


@asynccontextmanager
async def connect(app: HasAddress) -> AsyncIterator[RawConnection]:
    """Connect to a running proxy."""
    address = app.data_address
    limit = 1 << 20
    if address.path:
        wire = RawConnection(*await asyncio.open_unix_connection(address.path, limit=limit))
    else:
        wire = RawConnection(
            *await asyncio.open_connection(address.host, address.port, limit=limit)
        )
    try:
        yield wire
    finally:
        wire.writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(app: HasAddress, count: int) -> AsyncIterator[list[RawConnection]]:
    """Open ``count`` connections."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect(app)) for _ in range(count)]


async def ask(app: HasAddress, request: bytes = GET) -> RawResponse:
    """Send one request on a new connection."""
    async with connect(app) as wire:
        return await wire.ask(request)


def request(
    method: str, target: str, *headers: str, body: bytes | None = None, host: str = "localhost"
) -> bytes:
    """Return a well-formed request; a body gets ``Content-Length``."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
