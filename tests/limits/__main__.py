"""Attacks on a proxy under the sidecar chart's memory limit, and honest callers meanwhile.

::

    make limits
    python -m tests.limits --only heads
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from proxy.sandbox import Fault, Sandbox
from tests.limits.attacks import ATTACKS, Attack, Connect, hold, made_up_names
from tests.limits.cgroup import MemoryGroup, memory_group
from tests.support.certificates import OpensslAuthority
from tests.support.raw_client import GET
from tests.support.running import CLIENT

CHART = Path(__file__).parents[2] / "helm" / "candescent-proxy-sidecar" / "values.yaml"
MIB = 1_048_576
SECONDS = 6.0
"""How long an attack is held while the honest callers call."""

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Target:
    """A running proxy: its process, and the address of each port."""

    process: asyncio.subprocess.Process
    ports: dict[str, tuple[str, int]]
    tls: ssl.SSLContext

    def connect(self, port: str, *, tls: bool = False) -> Connect:
        """Return what connects to a port, with TLS or without."""
        context = self.tls if tls else None
        return partial(asyncio.open_connection, *self.ports[port], ssl=context)


@asynccontextmanager
async def target(
    folder: Path, bank: str, group: MemoryGroup, authority: OpensslAuthority, files: int
) -> AsyncIterator[Target]:
    """Run a proxy with three listeners in the group."""
    certificate = authority.issue("port", "IP:127.0.0.1", file="port")
    secret = folder / "secret"
    secret.write_text(CLIENT["client_secret"])
    secret.chmod(0o600)
    settings = {
        "base_url": bank,
        "institution_id": "00016",
        "client_id": CLIENT["client_id"],
        "client_secret_file": str(secret),
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "log": {"format": "json", "access": "off"},
        "listeners": {
            "kiosk": {"listen": "127.0.0.1:0"},
            "tls": {
                "listen": "127.0.0.1:0",
                "callers": {"certificate_file": str(certificate)},
            },
        },
    }
    (folder / "proxy.yaml").write_text(yaml.safe_dump(settings))
    command = f'ulimit -n {files}; exec "$0" "$@"'
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f"read _; {command}"),
        *(sys.executable, "-m", "proxy.cli", "run", "--config", str(folder / "proxy.yaml")),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if "CANDESCENT" not in name},
    )
    assert process.stderr is not None
    assert process.stdin is not None
    group.join(process.pid)
    process.stdin.write(b"\n")
    try:
        ports: dict[str, tuple[str, int]] = {}
        said: object = ""
        while not ports:
            line = await process.stderr.readline()
            if not line:
                raise SystemExit(f"The proxy did not start: {said}")
            fields: dict[str, Any] = json.loads(line) if line[:1] == b"{" else {}
            said = fields or line.decode()
            if fields.get("event") == "listening":
                named = {"main": fields["listen"], "admin": fields["admin"], **fields["listeners"]}
                for name, where in named.items():
                    host, _, number = where.rpartition(":")
                    ports[name] = host, int(number)
        reading = asyncio.create_task(_drain(process.stderr))
        yield Target(process, ports, ssl.create_default_context(cafile=authority.file))
        reading.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


async def call(connect: Connect, data: bytes) -> bool:
    """Whether a request on a new connection gets 200 within ten seconds."""
    writer = None
    try:
        async with asyncio.timeout(10):
            reader, writer = await connect()
            writer.write(data)
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.transport.abort()


async def honest(running: Target, port: str, until: float) -> tuple[int, int]:
    """Call ten times a second; return how many calls were served, and how many made."""
    connect = running.connect(port, tls=port == "tls")
    served = made = 0
    while made == 0 or time.monotonic() < until:
        served += await call(connect, LIVEZ if port == "admin" else GET)
        made += 1
        await asyncio.sleep(0.1)
    return served, made


@asynccontextmanager
async def attacker(plan: Attack, where: tuple[str, int]) -> AsyncIterator[None]:
    """Attack in a process of its own, so that only the proxy delays the honest callers."""
    start = multiprocessing.get_context("spawn")
    has_begun = start.Event()
    process = start.Process(target=hold, args=(plan, where, has_begun))
    process.start()
    try:
        if not await asyncio.to_thread(has_begun.wait, 60):
            raise SystemExit("The attack did not begin.")
        yield
        if not process.is_alive():
            raise SystemExit("The attacker ended.")
    finally:
        process.kill()
        process.join()


async def run(plan: Attack | None, limit: int, authority: OpensslAuthority) -> str:
    """Run an attack, None for that with made-up names; return its row."""
    with tempfile.TemporaryDirectory() as folder, memory_group(limit) as group:
        async with Sandbox() as bank:
            files = 4096 if plan is None else plan.files
            async with target(Path(folder), bank.url, group, authority, files) as running:
                await honest(running, "main", time.monotonic() + 1)  # it has its token then
                if plan is not None and plan.unread:
                    fault = Fault("resource", hang=True, unread=True, path_prefix="/upload")
                    bank.bank.faults.append(fault)
                same = "main" if plan is None else plan.port
                async with AsyncExitStack() as stack:
                    if plan is None:
                        names = asyncio.create_task(made_up_names(running.connect("main")))
                        stack.push_async_callback(lambda: names)
                    else:
                        await stack.enter_async_context(attacker(plan, running.ports[plan.port]))
                    until = time.monotonic() + SECONDS
                    results = await asyncio.gather(
                        *(honest(running, port, until) for port in (same, "kiosk"))
                    )
                ended = running.process.returncode is not None
                peak = "killed" if ended else f"{group.peak(running.process.pid) / MIB:.0f} MiB"
        name = "5,000 long paths, 2,500 long header names" if plan is None else plan.name
        count = 1 if plan is None else plan.count
        served = " | ".join(f"{some} of {made}" for some, made in results)
        return f"| {name} | {count:,} | {peak} | {served} |"


async def main(only: str) -> None:
    """Run the attacks and print a table."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    limit = int(yaml.safe_load(CHART.read_text())["resources"]["limits"]["memory"][:-2]) * MIB
    with memory_group(limit) as group:
        kind = group.kind
    print(f"Memory limit {limit // MIB} MiB ({kind}), Python {sys.version.split()[0]}\n")
    print("| attack | connections | peak | calls of the same port | of another listener |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        authority = OpensslAuthority.make(Path(folder))
        for plan in (*ATTACKS, None):
            if only in ("paths" if plan is None else plan.name):
                print(await run(plan, limit, authority), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="attacks with this text in their name")
    asyncio.run(main(parser.parse_args().only))
