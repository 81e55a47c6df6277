"""Runs a plan with real proxies, a sandbox bank and, where the plan has one, a redis-server.

The bank runs in this process, so that its state is accessible; each proxy is a process that
listens on Unix sockets. To simulate a sleeping machine, all processes are stopped and continued
together.
"""

import asyncio
import base64
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench.fleet.call_log import CallLog
from bench.fleet.plan import NEVER, Plan
from bench.fleet.redis_server import RedisServer, redis_server
from bench.machine import ROOT, BenchError
from proxy.errors import kinds
from proxy.sandbox import Fault, Sandbox, Settings
from proxy.tasks import Tasks

LOOK = 0.1
"""Seconds between two readiness checks, and so the resolution of gaps."""

START_TIMEOUT = 180.0
"""Seconds within which all proxies must be ready."""


async def play(plan: Plan, *, settled: bool = False) -> CallLog:
    """Return the log of a plan, whose time starts at the first start of a proxy.

    It ends when all proxies are ready; a ``settled`` plan starts then
    and runs to its end. Raises ``BenchError`` if they do not become ready, or
    if redis-server is missing.
    """
    log = CallLog()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
        bank = await stack.enter_async_context(Sandbox(_rules(plan)))
        store = await stack.enter_async_context(redis_server(folder)) if plan.has_store else None
        started = began = time.time()
        pods = [
            await stack.enter_async_context(_pod(plan, folder, number, bank.url, store))
            for number in range(plan.pods)
        ]
        watching = Tasks("fleet")
        for pod in pods:
            watching.spawn_background("watch", pod.watch(started, plan, log))
        await _all_ready(pods, log)
        if settled:
            began = time.time()
            await _let_happen(plan, began, bank, store, pods)
        await watching.cancel()
        log.calls = [
            (request.time - began, request.outcome == "ok") for request in bank.bank.token_requests
        ]
        log.gaps = [(since + started - began, to + started - began) for since, to in log.gaps]
    return log


async def _all_ready(pods: "list[RealPod]", log: CallLog) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT):
            while len(log.ready) < len(pods):  # noqa: ASYNC110 - other processes
                await asyncio.sleep(LOOK)
            return
    raise BenchError(f"Not all proxies became ready.\n{pods[-1].last_words()}")


def institutions(plan: Plan) -> list[str]:
    """Return the ids of the institutions; the first is the default of all proxies."""
    return [f"{number:05d}" for number in range(1, plan.institutions + 1)]


def _rules(plan: Plan) -> Settings:
    return Settings(
        institutions=tuple(institutions(plan)),
        lifetime=plan.lifetime,
        spike=plan.spike,
        quota=plan.quota,
        token_latency=sum(plan.latency) / 2,
    )


async def _let_happen(
    plan: Plan, began: float, bank: Sandbox, store: RedisServer | None, pods: "list[RealPod]"
) -> None:
    """Apply the plan's faults, each at its time."""
    status = 503 if plan.outage is kinds.TOKEN_SERVER else None
    outage = Fault("token", status=status, reset=status is None)

    async def bank_goes() -> None:
        bank.bank.faults.append(outage)

    async def bank_comes() -> None:
        bank.bank.faults.remove(outage)

    async def store_goes() -> None:
        assert store is not None
        await store.stop()

    async def store_comes() -> None:
        assert store is not None
        await store.start()

    async def sleep() -> None:
        for pod in pods:
            pod.process.send_signal(signal.SIGSTOP)

    async def wake() -> None:
        for pod in pods:
            pod.process.send_signal(signal.SIGCONT)

    events = [
        (plan.bank_down, bank_goes, bank_comes),
        (plan.store_down, store_goes, store_comes),
        (plan.asleep, sleep, wake),
    ]
    turns = [(window[0], first) for window, first, _ in events if window != NEVER]
    turns += [(window[1], last) for window, _, last in events if window != NEVER]
    for when, happen in sorted(turns, key=lambda turn: turn[0]):
        await asyncio.sleep(began + when - time.time())
        await happen()
    await asyncio.sleep(max(began + plan.end - time.time(), 0))


class RealPod:
    """A proxy in its own process."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self._folder = folder

    async def watch(self, began: float, plan: Plan, log: CallLog) -> None:
        """Record when it is ready; send one request for each institution."""
        connector = aiohttp.UnixConnector(str(self._folder / "admin"))
        started = asked = False
        lost = NEVER[0]
        async with aiohttp.ClientSession("http://admin", connector=connector) as session:
            try:
                while True:
                    answered, is_ready = await _look(session)
                    now = time.time() - began
                    if answered and not started:
                        log.started.append(now)
                        started = True
                    if is_ready and not asked:
                        log.ready.append(now)
                        asked = True
                        await self._visit(plan)
                    elif is_ready and lost < now:
                        log.gaps.append((lost, now))
                        lost = NEVER[0]
                    elif asked and not is_ready:
                        lost = min(lost, now)
                    await asyncio.sleep(LOOK)
            finally:
                if lost < NEVER[0]:
                    log.gaps.append((lost, NEVER[1]))

    def last_words(self) -> str:
        """Return the end of its output."""
        return (self._folder / "log").read_text(encoding="utf-8")[-2000:]

    async def _visit(self, plan: Plan) -> None:
        connector = aiohttp.UnixConnector(str(self._folder / "proxy"))
        async with aiohttp.ClientSession("http://proxy", connector=connector) as session:
            for institution in institutions(plan):
                async with session.get("/echo", headers={"institutionId": institution}) as answer:
                    await answer.read()


async def _look(session: aiohttp.ClientSession) -> tuple[bool, bool]:
    """Return whether the admin port responds, and whether it is ready."""
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with session.get("/readyz", timeout=aiohttp.ClientTimeout(5)) as answer:
            return True, answer.status == 200
    return False, False


@asynccontextmanager
async def _pod(
    plan: Plan, folder: Path, number: int, base_url: str, store: RedisServer | None
) -> AsyncIterator[RealPod]:
    home = folder / str(number)
    home.mkdir()
    file = home / "proxy.yaml"
    (home / "secret").write_text("sandbox-secret\n", encoding="ascii")
    file.write_text(yaml.safe_dump(_settings(plan, home, base_url, store)), encoding="utf-8")
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy.cli", "run", "--config", str(file)),
            cwd=ROOT,
            stderr=log,
            stdout=log,
        )
    try:
        yield RealPod(process, home)
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # an orderly stop is not measured
        await process.wait()


def _settings(plan: Plan, home: Path, base_url: str, store: RedisServer | None) -> dict[str, Any]:
    first, *others = institutions(plan)
    policy = asdict(plan.policy)
    del policy["retry_after_max"]  # no setting
    settings: dict[str, Any] = {
        "base_url": base_url,
        "client_id": "sandbox-client",
        "client_secret_file": str(home / "secret"),
        "institution_id": first,
        "allowed_institutions": others,
        "listen": f"unix:{home}/proxy",
        "admin": f"unix:{home}/admin",
        "token": policy,
        "log": {"level": "error", "access": "off"},
    }
    if store is not None:
        settings["store"] = _store_settings(home, store)
    return settings


def _store_settings(home: Path, store: RedisServer) -> dict[str, Any]:
    seal = home / "seal"
    seal.write_text(f"fleet {base64.b64encode(b'made up for the bench, as it is.').decode()}\n")
    return {"url": f"redis://127.0.0.1:{store.port}", "encryption_key_file": str(seal)}
