"""A running proxy on a machine that sleeps: the wall clock steps, the monotonic clock does not."""

import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.support import needs
from tests.support.process import process
from tests.support.program import ROOT
from tests.support.upstream_server import ScriptedUpstream, hold, ok, read, respond_to_all, send

pytestmark = [needs.programs("faketime"), pytest.mark.machine_clock]  # they set the clock

QUICK = {"first_byte_timeout": "60s", "max_idle_age": "10m"}


def faketime_library() -> str:
    """Return what ``LD_PRELOAD`` has under ``faketime``."""
    command = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("hours", [8, -1], ids=["sleep", "clock set back"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_request_after_a_suspend(tmp_path: Path, method: str, hours: int) -> None:
    """The first request uses a new connection; the old one would give no response."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    swallowing = [read(), send(ok(b"awake")), hold()]
    before = (
        "env",
        f"LD_PRELOAD={faketime_library()}",
        f"FAKETIME_TIMESTAMP_FILE={clock}",
        "FAKETIME_NO_CACHE=1",
        "CANDESCENT_BEARER_TOKEN=scripted",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        f"PYTHONPATH={ROOT / 'tests/support/faketime'}",
    )
    async with (
        ScriptedUpstream(swallowing, respond_to_all()) as upstream,
        process(
            tmp_path / "proxy.yaml",
            upstream.url,
            before=before,
            upstream=QUICK,
        ) as proxy,
        aiohttp.ClientSession(proxy.url) as caller,
    ):
        async with caller.get("/x") as response:
            assert await response.text() == "awake"
        (tmp_path / "new").write_text(f"{hours:+d}h")
        (tmp_path / "new").replace(clock)
        async with caller.request(method, "/x", timeout=aiohttp.ClientTimeout(30)) as response:
            assert (response.status, await response.text()) == (200, "yes")
        assert upstream.connections == 2
