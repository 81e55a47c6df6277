"""Runs ``candescent-proxy`` as a process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.running import DEADLINE, until

ROOT = Path(__file__).parents[2]
CREDENTIALS = {
    "CANDESCENT_CLIENT_ID": "sandbox-client",
    "CANDESCENT_CLIENT_SECRET": "sandbox-secret",
    "CANDESCENT_INSTITUTION_ID": "00016",
}
ANYWHERE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with these variables, and without other settings."""
    removed = ("CANDESCENT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "OTEL_")
    rest = {name: text for name, text in os.environ.items() if not name.upper().startswith(removed)}
    return {**rest, "PYTHONUNBUFFERED": "1", **variables}


def slowed(seconds: float, limit: float) -> float:
    """Return ``seconds``, multiplied by how much slower a busy machine starts a process.

    For lifetimes of tokens: a proxy that gets no processor for half of one refreshes too late.
    """
    began, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, "-c", "import proxy.runtime.app"], cwd=ROOT, check=True)
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    return min(limit, seconds * max(1, (time.monotonic() - began) / spent))


@dataclass
class RunningProgram:
    """A running ``candescent-proxy``. ``out`` and ``err`` are its lines of output."""

    process: asyncio.subprocess.Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    def events(self, event: str) -> Iterator[dict[str, Any]]:
        """Yield the parsed lines of a JSON log with this event."""
        for line in self.err:
            if line.startswith("{") and (read := json.loads(line))["event"] == event:
                yield read

    async def wait_for_event(self, event: str) -> dict[str, Any]:
        """Wait for the first log line with this event and return it."""
        await until(lambda: list(self.events(event)) or self.has_ended)
        lines = list(self.events(event))
        assert lines, f"{event!r} was not logged, but:\n" + "\n".join(self.err)
        return lines[0]

    async def wait_for_output(self, text: str) -> str:
        """Wait for a line with this text on standard output and return it."""
        await until(lambda: [line for line in self.out if text in line] or self.has_ended)
        return next(line for line in self.out if text in line)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if given, wait for the end, and return the exit code."""
        if number is not None:
            self.send(number)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def program(
    *arguments: str | Path, stdin: bytes | str = b"", before: Sequence[str] = (), **variables: str
) -> AsyncIterator[RunningProgram]:
    """Start the program; kill it at the end if it still runs.

    ``stdin`` is its standard input; ``before`` is a command prefix such as ``nice``.
    """
    process = await asyncio.create_subprocess_exec(
        *before,
        sys.executable,
        "-m",
        "proxy.cli",
        *map(str, arguments),
        cwd=ROOT,
        env=environment(**variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    running = RunningProgram(process)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(stdin.encode() if isinstance(stdin, str) else stdin)
    process.stdin.close()
    readers = [
        asyncio.create_task(_read(process.stdout, running.out)),
        asyncio.create_task(_read(process.stderr, running.err)),
    ]
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(*readers)


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode().rstrip("\n"))


async def run_program(
    *arguments: str | Path, stdin: bytes | str = b"", before: Sequence[str] = (), **variables: str
) -> tuple[int, str, str]:
    """Run the program to its end; return exit code, standard output and standard error."""
    async with program(*arguments, stdin=stdin, before=before, **variables) as running:
        code = await running.end()
    return code, "\n".join(running.out), "\n".join(running.err)
