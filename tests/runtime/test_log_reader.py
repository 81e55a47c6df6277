"""A running proxy whose standard error is a pipe that nobody reads."""

import asyncio
import fcntl
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from proxy.sandbox import Sandbox
from tests.support.process import write_settings
from tests.support.program import ROOT, environment
from tests.support.proxy_fixture import sample_in
from tests.support.running import CLIENT, DEADLINE

LONG = "/echo/" + "x" * 6000
"""A path that makes a log line of 6 KB."""
FILLS = 900
"""Requests whose log lines are more than the proxy keeps."""


@dataclass
class UnreadProxy:
    """A proxy, and our end of the pipe that is its standard error."""

    process: asyncio.subprocess.Process
    pipe: int
    text: str
    """What has been read of the log."""

    def address(self, name: str) -> str:
        """Return ``listen`` or ``admin`` as the log names it."""
        match = re.search(rf"\b{name}\b\W+(127\.0\.0\.1:\d+)", self.text)
        assert match is not None
        return match[1]

    async def get(self, name: str, path: str, times: int = 1) -> str:
        """Send requests that must succeed; return the text of the last response."""
        text = ""
        async with aiohttp.ClientSession(f"http://{self.address(name)}") as caller:
            for _ in range(times):
                async with asyncio.timeout(DEADLINE), caller.get(path) as response:
                    text = await response.text()
                    assert response.status == 200
        return text

    async def dropped(self) -> float:
        """Return the metric of dropped lines."""
        metrics = await self.get("admin", "/metrics")
        return sample_in(metrics, "candescent_proxy_log_lines_dropped_total", {})

    async def read_until(self, text: str) -> None:
        """Read the log up to a line with this text, or to its end."""
        await asyncio.to_thread(self._read_until, text)

    def _read_until(self, text: str) -> None:
        seen = len(self.text)
        while text not in self.text[seen:] and (data := os.read(self.pipe, 65_536)):
            self.text += data.decode()

    async def end(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def unread_proxy(file: Path, form: str) -> AsyncIterator[UnreadProxy]:
    """Run a proxy and read its log until it listens, and no further."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
    async with Sandbox() as bank:
        write_settings(file, bank.url, log={"access": "on", "format": form})
        settings = {f"CANDESCENT_{name.upper()}": text for name, text in CLIENT.items()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy.cli", "run", "--config", str(file)),
            cwd=ROOT,
            env=environment(**settings),
            stderr=theirs,
        )
        os.close(theirs)
        running = UnreadProxy(process, ours, "")
        try:
            await running.read_until("listening")
            await running.read_until("\n")
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            os.close(running.pipe)


@pytest.mark.parametrize("form", ["json", "console"])
async def test_log_that_nobody_reads(tmp_path: Path, form: str) -> None:
    """Requests and probes are answered; when reading resumes, the log says what is missing."""
    async with unread_proxy(tmp_path / "proxy.yaml", form) as proxy:
        await proxy.get("listen", LONG, FILLS)
        await proxy.get("admin", "/livez")
        dropped = await proxy.dropped()
        assert dropped > 0
        await proxy.read_until("log lines dropped")
        await proxy.get("listen", "/echo/again")
        await proxy.read_until("/echo/again")
        reading = asyncio.create_task(proxy.read_until("never"))
        assert await proxy.end() == 0
        await reading
        reported = re.findall(r"log lines dropped.*?\blines\W+(\d+)", proxy.text)
        assert sum(map(int, reported)) == dropped
        assert proxy.text.count("/echo/x") + dropped == FILLS
        assert proxy.text.splitlines()[-1].count("stopped")


@pytest.mark.parametrize("form", ["json", "console"])
async def test_sigterm_with_a_full_pipe(tmp_path: Path, form: str) -> None:
    """The proxy ends in good order."""
    async with unread_proxy(tmp_path / "proxy.yaml", form) as proxy:
        await proxy.get("listen", LONG, 20)
        assert await proxy.end() == 0


@pytest.mark.parametrize("form", ["json", "console"])
async def test_reader_that_is_gone(tmp_path: Path, form: str) -> None:
    """Requests are answered, the lines are counted, and the exit code is 0."""
    async with unread_proxy(tmp_path / "proxy.yaml", form) as proxy:
        os.close(proxy.pipe)
        proxy.pipe = os.open(os.devnull, os.O_RDONLY)
        await proxy.get("listen", "/echo", 20)
        while await proxy.dropped() < 20:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        assert await proxy.end() == 0
