"""Measures the image's size and a container's memory and CPU: ``python -m tools.footprint``.

The charts' requests and limits and docs/kubernetes.md are based on these figures. Needs podman,
root, and the image (``make image``). The bank is the sandbox, in a container of its own.
"""

import asyncio
import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from tools.machine import machine

BANK, PROXY, ADMIN = "127.0.0.1:18081", "127.0.0.1:18080", "127.0.0.1:19090"
PATH = "/v1/accounts?hostUserId=880017"
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
MB = 1_000_000


def podman(*arguments: str) -> str:
    """Run podman with a runtime that supports hybrid control groups."""
    command = ["podman", "--runtime", "runc", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - ours


@contextmanager
def running(image: str, *arguments: str, **variables: str) -> Iterator[Path]:
    """Run a container on the host's network; yield the /proc directory of its first process."""
    given = [f"--env={name}={value}" for name, value in variables.items()]
    flags = ("--network=host", "--no-healthcheck", "--read-only", "--cap-drop=ALL", *LIMITS)
    name = podman("run", "--detach", *flags, *given, image, *arguments)
    try:
        yield Path("/proc") / podman("inspect", "--format", "{{.State.Pid}}", name)
    finally:
        podman("rm", "--force", "--time", "5", name)


def memory(process: Path, field: str) -> float:
    """Return a field of a process's status in MiB."""
    status = (process / "status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def cpu(process: Path) -> float:
    """Return the CPU seconds of a process and its ended children."""
    fields = (process / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def sizes(image: str) -> tuple[float, float]:
    """Return the size of an image in MB: unpacked, and compressed for a registry."""
    disk = int(podman("image", "inspect", "--format", "{{.Size}}", image)) / MB
    command = ["podman", "save", "--quiet", image]
    archive = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - ours
    return disk, len(gzip.compress(archive, 6)) / MB


async def until_ready(session: aiohttp.ClientSession) -> None:
    """Wait until the proxy is ready."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"http://{ADMIN}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.005)


async def load(session: aiohttp.ClientSession, requests: int, at_once: int) -> None:
    """Send requests concurrently; each must succeed."""
    left = iter(range(requests))

    async def caller() -> None:
        for _ in left:
            async with session.get(f"http://{PROXY}{PATH}") as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"status {answer.status}")

    await asyncio.gather(*(caller() for _ in range(at_once)))


async def measure(image: str, process: Path, began: float) -> None:
    """Print memory and CPU of a running proxy: idle, under load, and of a probe."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await until_ready(session)
        print(f"ready after {time.monotonic() - began:.2f} s, {cpu(process):.2f} s of them CPU")
        print(f"memory at rest: {memory(process, 'VmRSS'):.0f} MiB")
        for requests, at_once in ((5000, 10), (5000, 100), (5000, 1000)):
            before = cpu(process)
            await load(session, requests, at_once)
            each = (cpu(process) - before) / requests * 1e6
            peak = memory(process, "VmHWM")
            print(f"{at_once:4} requests at once: peak {peak:.0f} MiB, {each:.0f} µs of CPU each")
        before = cpu(process)
        await asyncio.sleep(10)
        print(f"CPU at rest: {(cpu(process) - before) / 10 * 1000:.1f} m")
        before = cpu(process)
        for _ in range(500):
            async with session.get(f"http://{ADMIN}/readyz"):
                pass
        http = (cpu(process) - before) / 500 * 1000
    print(f"one probe: {http:.1f} ms of CPU by HTTP, {healthcheck(image) * 1000:.0f} by command")


def healthcheck(image: str) -> float:
    """Return the CPU seconds of a healthcheck command, without the container's start."""
    program = (
        "import os, subprocess\n"
        "subprocess.run(['candescent-proxy', 'healthcheck'], check=True)\n"
        "print(os.times()[2:4])"
    )
    flags = ("--rm", "--network=host", "--no-healthcheck", *LIMITS)
    variables = f"--env=CANDESCENT_ADMIN={ADMIN}"
    entry = "--entrypoint=/app/bin/python3"
    text = podman("run", *flags, variables, entry, image, "-c", program)
    return sum(map(float, text.splitlines()[-1].strip("()").split(",")))


def main(image: str, base: str = "python:3.14-slim") -> int:
    """Print all figures; return the exit code."""
    print(f"on {machine()}")
    for name in (base, image):
        disk, compressed = sizes(name)
        print(f"{name}: {disk:.0f} MB on disk, {compressed:.0f} MB compressed")
    bank = {"CANDESCENT_BASE_URL": f"http://{BANK}", "CANDESCENT_INSTITUTION_ID": "00016"}
    login = {
        "CANDESCENT_CLIENT_ID": "sandbox-client",
        "CANDESCENT_CLIENT_SECRET": "sandbox-secret",
    }
    where = {"CANDESCENT_LISTEN": PROXY, "CANDESCENT_ADMIN": ADMIN}
    with running(image, "sandbox", "--listen", BANK):
        time.sleep(2)
        began = time.monotonic()
        with running(image, "run", **bank, **login, **where) as process:
            asyncio.run(measure(image, process, began))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "candescent-proxy"))
