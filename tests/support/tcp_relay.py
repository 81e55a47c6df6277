"""A TCP relay between two endpoints that simulates network faults.

::

    async with TcpRelay(bank_port) as relay:
        proxy = f"http://127.0.0.1:{relay.port}"
        relay.back.latency = 0.2           # seconds, for each block from the server
        relay.back.slice = 1               # bytes at a time
        relay.back.cut_after = 100         # bytes, then the connection is closed
        relay.there.reset_after = 0        # bytes, then a reset; 0: at the next byte
        relay.there.drops_bytes = True     # nothing is passed on while this is set
        relay.reset_all()                  # all connections
        relay.refuse()                     # stops listening

A fault applies to open connections and to new ones.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Direction:
    """The faults of one direction. ``bandwidth`` is in bytes per second.

    ``once``: only one connection is closed or reset.
    """

    latency: float = 0.0
    slice: int = 0
    bandwidth: float = 0.0
    cut_after: int | None = None
    reset_after: int | None = None
    drops_bytes: bool = False
    once: bool = False
    passed: int = 0

    @property
    def end_after(self) -> int | None:
        """Number of bytes after which a connection ends, or None."""
        return self.reset_after if self.cut_after is None else self.cut_after


class TcpRelay:
    """Listens on a free port of 127.0.0.1 and connects to ``port`` there.

    ``there`` is the direction to the server, ``back`` from it. ``received`` is called with each
    block for the server before any fault applies.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.there = Direction()
        self.back = Direction()
        self.received: Callable[[bytes], None] = lambda _: None
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port and all connections."""
        self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self) -> None:
        """Listen; after ``refuse`` on the same port again."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Stop listening; open connections stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def switch_to(self, port: int) -> None:
        """Connect to another port from now on; reset open connections."""
        self._target = port
        self.reset_all()

    def restore(self) -> None:
        """Remove all faults."""
        self.there, self.back = Direction(), Direction()

    def reset_all(self) -> None:
        """Reset both ends of every connection."""
        for writer in list(self._writers):
            reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._between(reader, writer)
        except (OSError, asyncio.CancelledError):  # asyncio logs an error for a cancelled handler
            reset(writer)
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(back)
        try:
            await asyncio.gather(
                self._pass(reader, back, writer, "there"), self._pass(there, writer, back, "back")
            )
        finally:
            self._writers.discard(back)
            back.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        name: str,
    ) -> None:
        passed = 0
        while True:
            block = await reader.read(65_536)
            if name == "there":
                self.received(block)
            direction: Direction = getattr(self, name)
            if direction.latency:
                await asyncio.sleep(direction.latency)
            # TCP retransmits, so bytes are delayed rather than lost.
            while getattr(self, name).drops_bytes:  # noqa: ASYNC110 - a test sets it
                await asyncio.sleep(0.02)
            if not block:
                break
            rest = None if direction.end_after is None else direction.end_after - passed
            if rest is not None and len(block) > rest:
                await self._deliver(writer, block[: max(rest, 0)], direction)
                self._end(writer, other, direction)
                return
            await self._deliver(writer, block, direction)
            passed += len(block)
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def _deliver(
        self, writer: asyncio.StreamWriter, block: bytes, direction: Direction
    ) -> None:
        direction.passed += len(block)
        size = direction.slice or len(block) or 1
        for at in range(0, len(block), size):
            writer.write(block[at : at + size])
            await writer.drain()
            if direction.bandwidth:
                await asyncio.sleep(size / direction.bandwidth)
            elif direction.slice:
                await asyncio.sleep(0)

    def _end(
        self, writer: asyncio.StreamWriter, other: asyncio.StreamWriter, direction: Direction
    ) -> None:
        if direction.cut_after is not None:
            writer.close()
            other.close()
        else:
            reset(writer)
            reset(other)
        if direction.once:
            direction.cut_after = direction.reset_after = None


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy a stream, its end included."""
    while block := await reader.read(65_536):
        writer.write(block)
        await writer.drain()
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
