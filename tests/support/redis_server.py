"""A ``redis-server`` on a free loopback port, with its own directory.

``STORE_SERVER`` names another program, such as a ``valkey-server`` or another version of Redis.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support import machine_clock, needs
from tests.support.running import DEADLINE

PROGRAM = os.environ.get("STORE_SERVER", "redis-server")


@dataclass
class RedisServer:
    """A running server; ``admin`` is a client with all rights."""

    folder: Path
    port: int
    arguments: tuple[str, ...]
    process: asyncio.subprocess.Process
    admin: Redis

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"redis://127.0.0.1:{self.port}"

    async def do(self, *command: Any) -> Any:
        """Run a command."""
        client: Any = self.admin  # the library has no types here
        return await client.execute_command(*command)

    async def info(self, section: str, password: str = "") -> bytes:
        """Return a section of the INFO command as text."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        login = f"AUTH {password}\r\n" if password else ""
        writer.write(f"{login}INFO {section}\r\n".encode())
        while not (line := await reader.readline()).startswith(b"$"):
            assert line.startswith(b"+OK"), line
        text = await reader.readexactly(int(line[1:]))
        writer.close()
        return text

    async def records(self) -> list[bytes]:
        """Return the names of all records."""
        return sorted(await self.do("KEYS", "*"))

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait for the end, except for SIGSTOP."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        if number is not signal.SIGSTOP:
            await self.process.wait()

    async def start_again(self) -> None:
        """Start it again on the same port, with what it had saved."""
        self.process = await _start(self.folder, self.port, self.arguments)
        assert await _answering(self.admin, self.process)


@asynccontextmanager
async def redis_server(
    folder: Path,
    *arguments: str,
    password: str = "",
    port: int = 0,
    file: Path | None = None,
    **options: Any,
) -> AsyncIterator[RedisServer]:
    """Start a server; ``arguments`` are its command line, ``options`` are for the admin client.

    A Sentinel has a configuration ``file``, which it rewrites and which has its password.
    """
    needs.program(PROGRAM)
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a local folder
    if password and file is None:
        arguments += ("--requirepass", password)
    if file is not None:
        arguments = (str(file), *arguments)
    login = {"password": password or None, **options}
    server = await _started(folder, port, arguments, login)
    try:
        yield server
    finally:
        await server.admin.aclose()
        with suppress(ProcessLookupError):
            server.process.send_signal(signal.SIGKILL)
        await server.process.wait()


def free_port(besides: int = 0) -> int:
    """Return a free port; with ``besides``, the port that much higher is free too."""
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


async def _started(
    folder: Path, port: int, arguments: tuple[str, ...], login: dict[str, Any]
) -> RedisServer:
    """Start a server that has its port to itself: another process may take a free one first."""
    while True:
        own = port or free_port()
        process = await _start(folder, own, arguments)
        admin = Redis(host="127.0.0.1", port=own, **login)
        if await _answering(admin, process):
            return RedisServer(folder, own, arguments, process, admin)
        assert not port, f"port {port} is taken"
        await admin.aclose()


async def _start(folder: Path, port: int, arguments: tuple[str, ...]) -> asyncio.subprocess.Process:
    file = arguments[:1] if arguments and not arguments[0].startswith("--") else ()
    ours = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    ours += ["--logfile", str(folder / "log")]
    if not file:
        ours += ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
    return await asyncio.create_subprocess_exec(
        PROGRAM,
        *file,
        *ours,
        *arguments[len(file) :],
        env={**machine_clock.environment(), "LC_ALL": "C"},
    )


async def _answering(admin: Any, process: asyncio.subprocess.Process) -> bool:
    """Wait for the server; return False if it has ended, or if another one has its port."""
    async with asyncio.timeout(DEADLINE):
        while process.returncode is None:
            with suppress(RedisError, OSError):
                found = (await admin.execute_command("INFO"))["process_id"]
                if found == process.pid:
                    return True
            await asyncio.sleep(0.02)
    return False
