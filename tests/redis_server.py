"""A real ``redis-server`` on a free port of loopback, in its own directory, for one test."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError


@dataclass
class RedisServer:
    """A running server; ``admin`` is a client that may do everything."""

    folder: Path
    port: int
    arguments: tuple[str, ...]
    process: asyncio.subprocess.Process
    admin: Redis

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"redis://127.0.0.1:{self.port}"

    async def do(self, *command: Any) -> Any:
        """Run a command."""
        return await self.admin.execute_command(*command)

    async def records(self) -> list[bytes]:
        """Return the names of all records."""
        return sorted(await self.do("KEYS", "*"))

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill it."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        if number is not signal.SIGSTOP:
            await self.process.wait()

    async def start_again(self) -> None:
        """Start it anew at the same place, with what it had saved."""
        self.process = await _start(self.folder, self.port, self.arguments)
        await _answering(self.admin)


@asynccontextmanager
async def redis_server(
    folder: Path, *arguments: str, password: str = "", **options: Any
) -> AsyncIterator[RedisServer]:
    """Start one; ``arguments`` are as on its command line, ``options`` for the admin's client."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    if password:
        arguments += ("--requirepass", password)
    process = await _start(folder, port, arguments)
    admin = Redis(port=port, password=password or None, **options)
    server = RedisServer(folder, port, arguments, process, admin)
    try:
        await _answering(admin)
        yield server
    finally:
        await admin.aclose()
        with suppress(ProcessLookupError):
            server.process.send_signal(signal.SIGKILL)
        await server.process.wait()


def free_port(besides: int = 0) -> int:
    """Return a port that nobody listens on; with ``besides``, nor on the one so far above it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                if besides:
                    second.bind(("127.0.0.1", port + besides))
            except (OSError, OverflowError):
                continue
            return port


async def _start(
    folder: Path, port: int, arguments: tuple[str, ...]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", "--appendonly", "no", "--logfile", str(folder / "log")),
        *arguments,
        env={**os.environ, "LC_ALL": "C"},
    )


async def _answering(admin: Redis) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(RedisError, OSError):
                await admin.execute_command("INFO")
                return
            await asyncio.sleep(0.02)
