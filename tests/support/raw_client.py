"""A caller on a raw socket: sends the bytes it is told to, and reads answers strictly."""

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
    """One answer; ``headers`` in their order and case."""

    version: bytes
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> str | None:
        """Return the one value of a header, if there is one."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The stable last part of a problem's type; empty for an answer that is none."""
        if self.header("x-proxy-error-source") is None:
            return ""
        assert self.header("Content-Type") == "application/problem+json"
        problem = self.json()
        assert problem["status"] == self.status
        assert problem["transactionId"] == self.header("transactionId")
        return str(problem["type"]).rpartition(":")[2]


class RawConnection:
    """A caller's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *blocks: bytes, every: float = 0.0) -> None:
        """Send each block by itself, ``every`` seconds apart."""
        for at, block in enumerate(blocks):
            if at:
                await asyncio.sleep(every)
            self.writer.write(block)
            await self.writer.drain()

    async def read_response(self, *, bodiless: bool = False) -> RawResponse:
        """Read one answer; interim ones count as answers too."""
        async with asyncio.timeout(DEADLINE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head[:-4].split(b"\r\n")
            version, status, reason = status_line.split(b" ", 2)
            headers = [
                (name, value) for name, _, value in (line.partition(b": ") for line in lines)
            ]
            answer = RawResponse(version, int(status), reason, headers, b"")
            if bodiless or answer.status in (204, 304) or answer.status < 200:
                return answer
            return RawResponse(version, answer.status, reason, headers, await self._body(answer))

    async def _body(self, answer: RawResponse) -> bytes:
        length = answer.header("Content-Length")
        coding = answer.header("Transfer-Encoding")
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
        """Send one request and read its answer."""
        await self.send(request)
        return await self.read_response(bodiless=request.startswith(b"HEAD "))

    async def read_to_end(self) -> bytes:
        """Read until the proxy ends the connection in good order; return what came."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()

    async def ends_with_reset(self) -> bool:
        """Read until the connection ends; return whether it ended with a reset."""
        try:
            await self.read_to_end()
        except ConnectionResetError:
            return True
        return False

    def stop_reading(self) -> None:
        """Take no more of what comes."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it can read, too

    def end_sending(self) -> None:
        """Send no more, but go on reading."""
        self.writer.write_eof()

    def close(self) -> None:
        """Go away in good order."""
        self.writer.close()

    def reset(self) -> None:
        """Go away with a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.writer.transport.abort()


class HasAddress(Protocol):
    """What can be called: a proxy, or a part of one."""

    @property
    def data_address(self) -> Address:
        """Where it listens."""


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
    """Connect so many times, one after another."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect(app)) for _ in range(count)]


async def ask(app: HasAddress, request: bytes = GET) -> RawResponse:
    """Send one request on a connection of its own."""
    async with connect(app) as wire:
        return await wire.ask(request)


def request(
    method: str, target: str, *headers: str, body: bytes | None = None, host: str = "localhost"
) -> bytes:
    """Return a well-formed request; a body gets its length."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
