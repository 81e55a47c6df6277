"""A redis-server on a free loopback port, in memory only."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from bench.machine import BenchError
from bench.processes import can_connect, free_port

START_TIMEOUT = 10.0
"""Seconds until it must listen."""


class RedisServer:
    """A server that can be stopped and started on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()

    async def start(self) -> None:
        """Start it. Raises ``BenchError`` if it is not installed or does not listen."""
        if shutil.which("redis-server") is None:
            raise BenchError("redis-server is missing; on Debian: apt-get install redis-server")
        with (self._folder / "redis.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port)),
                *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
                stdout=log,
                stderr=log,
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT):
                while not can_connect(self.port):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
                return
        raise BenchError((self._folder / "redis.log").read_text(encoding="utf-8")[-2000:])

    async def stop(self) -> None:
        """Kill it; its data is lost."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """Run a server within a ``with`` block."""
    server = RedisServer(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
