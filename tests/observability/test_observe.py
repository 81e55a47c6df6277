"""``make observe`` with one fault."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.program import environment

ROOT = Path(__file__).parents[2]


pytestmark = [
    pytest.mark.machine_clock,
    needs.programs("prometheus", "prometheus-alertmanager", "redis-server"),
]  # Prometheus keeps it


async def started(*arguments: str) -> asyncio.subprocess.Process:
    """Start it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.observability", *arguments),
        cwd=ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_one_fault_is_reported() -> None:
    """Addresses, fault and alert; exit code 0."""
    process = await started("--once", "--only", "certificate")
    out, err = await process.communicate()
    said = out.decode()
    assert process.returncode == 0, said + err.decode()
    for words in ("Prometheus ", "Alertmanager ", "north ", "south ", "dashboard.json"):
        assert words in said
    assert "south: A certificate is renewed with one that ends tomorrow." in said
    assert "critical CandescentProxyCertificateExpiresSoon: The certificate in callers." in said
    assert "It is over." in said


async def test_signal_ends_it() -> None:
    """Without --once; no process remains."""
    process = await started("--only", "certificate")
    assert process.stdout is not None
    while b"A certificate is renewed" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()


async def test_unknown_fault_is_refused() -> None:
    """Nothing is started."""
    process = await started("--only", "sunshine")
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "no trouble has sunshine in its title" in err.decode()
