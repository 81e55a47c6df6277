"""``candescent-proxy run`` as a process, configured by a file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.support.mounted_files import write
from tests.support.program import RunningProgram, program
from tests.support.proxy_fixture import sample_in
from tests.support.running import CLIENT, DEADLINE


@dataclass
class RunningProxy:
    """A running proxy. ``listen`` and ``admin`` are its addresses."""

    program: RunningProgram
    listen: str
    admin: str

    @property
    def url(self) -> str:
        """Return the URL of its data port."""
        return f"http://{self.listen}"

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.program.process.pid

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Send a request to the admin port; return status and text."""
        async with aiohttp.request(method, f"http://{self.admin}{path}") as response:
            return response.status, await response.text()

    async def sample(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series with these labels."""
        return sample_in((await self.ask("/metrics"))[1], name, labels)

    async def ready(self) -> None:
        """Wait until ``/readyz`` returns 200."""
        async with asyncio.timeout(DEADLINE):
            while (await self.ask("/readyz"))[0] != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    def resident(self) -> int:
        """Return its resident memory in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def descriptors(self) -> set[int]:
        """Return its open file descriptors."""
        return {int(entry.name) for entry in Path(f"/proc/{self.pid}/fd").iterdir()}


@asynccontextmanager
async def process(
    file: Path, base_url: str, *, before: tuple[str, ...] = (), ready: bool = True, **written: Any
) -> AsyncIterator[RunningProxy]:
    """Start a proxy with these settings in ``file``; a setting that is None is left out.

    ``before`` is a command prefix such as ``nice``.
    """
    write_settings(file, base_url, **written)
    variables: dict[str, Any] = {
        f"CANDESCENT_{name.upper()}": text
        for name, text in CLIENT.items()
        if f"{name}_file" not in written
    }
    async with program("run", "--config", file, before=before, **variables) as started:
        listening = await started.wait_for_event("listening")
        running = RunningProxy(started, listening["listen"], listening["admin"])
        if ready:
            await running.ready()
        yield running


def write_settings(file: Path, base_url: str, **written: Any) -> None:
    """Write a configuration file for a proxy in front of ``base_url``."""
    settings = {
        "base_url": base_url,
        "institution_id": "00016",
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "allowed_hosts": "*",
        "log": {"access": "on", "format": "json"},
        **written,
    }
    present = {name: value for name, value in settings.items() if value is not None}
    write(file, yaml.safe_dump(present))
