"""Runs many proxies as processes that are forked from one.

::

    python -m tests.tokens.fleet.members FILE COUNT

forks COUNT processes after the imports; each runs a proxy configured by FILE, on its own ports, and
prints its number, process id and addresses as a line of JSON. They end at the end of standard
input.

The ``User-Agent`` of a proxy's token calls has its number: ``member-3/1``.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy.config import loader
from proxy.runtime.app import App
from proxy.runtime.serve import loop_factory
from proxy.telemetry import logs
from tests.support.program import ROOT, environment
from tests.support.proxy_fixture import sample_in
from tests.support.running import DEADLINE


@dataclass
class Member:
    """One proxy of the fleet."""

    number: int
    pid: int
    listen: str
    admin: str

    @property
    def user_agent(self) -> str:
        """Return its ``User-Agent`` on token calls."""
        return f"member-{self.number}/1"

    @property
    def is_alive(self) -> bool:
        """Whether it runs or is stopped; a zombie does not count."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z"

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    async def sample(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series with these labels."""
        async with aiohttp.request("GET", f"http://{self.admin}/metrics") as response:
            return sample_in(await response.text(), name, labels)

    async def wait_for_sample(self, is_set: bool, name: str, **labels: str) -> None:
        """Wait until that sum is not 0, or is 0. Each look costs the proxy an exposition."""
        while bool(await self.sample(name, **labels)) is not is_set:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.5)


@asynccontextmanager
async def members(file: Path, count: int) -> AsyncIterator[list[Member]]:
    """Start ``count`` proxies configured by ``file``; end them afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.tokens.fleet.members", str(file), str(count)),
        cwd=ROOT,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            lines = [await process.stdout.readline() for _ in range(count)]
        yield sorted((Member(**json.loads(line)) for line in lines), key=lambda one: one.number)
    finally:
        process.stdin.close()
        await process.wait()


async def _serve(file: Path, number: int) -> None:
    config = loader.load(file, {}, {"v1": {"user_agent": f"member-{number}/1"}})
    logs.set_up(config.log)
    app = App(config, loader.logins(config))
    await app.start()
    reported = {"listen": str(app.data_address), "admin": str(app.admin_address)}
    line = json.dumps({"number": number, "pid": os.getpid(), **reported}) + "\n"
    os.write(1, line.encode())  # one write, because other processes write to the same pipe
    await asyncio.Event().wait()


def _fork(file: Path, number: int) -> int:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # left free, a socket would get its number
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(file, number))
        os._exit(0)
    return pid


def main(file: str, count: str) -> None:
    """Fork, and wait for the end of standard input."""
    # Imported before the fork, so that no child has to.
    __import__("proxy.runtime.build_fleet")
    children = [_fork(Path(file), number) for number in range(int(count))]
    sys.stdin.read()
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
