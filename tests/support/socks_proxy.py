"""A SOCKS 5 proxy on a real socket (RFC 1928): tunnels, or fails as set."""

import asyncio
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.tcp_relay import copy


@dataclass
class SocksProxy:
    """Listens on a free port of 127.0.0.1.

    With ``login``, a ``user:password``, it requires that (RFC 1929). ``reply`` is its answer to
    CONNECT; for the address ``unreachable`` it is 4 (host unreachable). ``target_port`` is a local
    port that it connects to whatever the request says. ``asked`` are the hosts of requests,
    ``spoken`` its bytes one at a time.
    """

    login: str = ""
    reply: int = 0
    unreachable: str = ""
    target_port: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port and every tunnel."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # asyncio logs an error for a cancelled handler
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._logs_in(reader, writer):
            return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, await reader.readexactly(size))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append((host, port))
        # In two parts, so that the reader has to wait for the rest; a name for its own address.
        code = 4 if host == self.unreachable else self.reply
        writer.write(bytes([5, code, 0, 3, 5]))
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(b"proxy" + b"\0\0")
        if code:
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target_port or port)
        try:
            await asyncio.gather(copy(reader, back), copy(there, writer))
        finally:
            back.close()

    async def _logs_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if self.login else 0
        if method not in methods:
            writer.write(b"\x05\xff")
            return False
        writer.write(bytes([5, method]))
        if not self.login:
            return True
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        is_right = user + b":" + password == self.login.encode()
        writer.write(b"\x01\x00" if is_right else b"\x01\x01")
        return is_right
