"""Store faults do not affect callers.

Three proxies share a bank and a store. During each fault no request fails, and every proxy fetches
its own token and reports the fault; afterwards they share again.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.runtime.app import App
from proxy.sandbox import Sandbox, Settings
from proxy.tasks import Tasks
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.fleet.encryption import record_name
from proxy.tokens.grants import Login
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.captured_log import CapturedLog, captured_log
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import CLIENT, make_app, until, url
from tests.support.tcp_relay import TcpRelay
from tests.tokens.fleet.encryption_keys import key_line, write_key

LIFETIME = 2.0
PASSWORD = "moss-of-the-store"
UNREADABLE = "store_entries_unreadable"
KEY = TokenKey(TokenKind.V2, "00016")


@dataclass
class FleetBehindRelay:
    """Three proxies, their bank and store, and a relay to the store."""

    folder: Path
    bank: Sandbox
    store: RedisServer
    network: TcpRelay
    log: CapturedLog
    apps: list[App]
    failed: list[int]

    @property
    def record(self) -> str:
        """The name of the only record."""
        login = Login(Credentials(CLIENT["client_id"], CLIENT["client_secret"]))
        return "candescent-proxy:{" + record_name(self.bank.url, KEY, login).text + "}"

    def acquired(self, app: App, *sources: str) -> float:
        """Return how many of a proxy's tokens have this source."""
        return sum(sample(app, "store_tokens_total", source=source) for source in sources)

    async def wait_for_direct_fetches(self, reason: str) -> None:
        """Wait until each proxy has reported the reason and fetched a token directly."""
        await asyncio.gather(*(until(partial(has_failed, app, reason)) for app in self.apps))
        before = [self.acquired(app, "direct", "uncached") for app in self.apps]
        await until(
            lambda: all(
                self.acquired(app, "direct", "uncached") > had
                for app, had in zip(self.apps, before, strict=True)
            )
        )

    async def wait_for_sharing(self) -> None:
        """Wait until all use the store and one fetches for all."""
        await until(lambda: all(sample(app, "store_up") for app in self.apps))
        before = [self.acquired(app, "shared") for app in self.apps]
        await until(
            lambda: (
                sum(
                    self.acquired(app, "shared") > had
                    for app, had in zip(self.apps, before, strict=True)
                )
                >= len(self.apps) - 1
            )
        )


def has_failed(app: App, reason: str) -> bool:
    """Return whether a proxy counts a failure for this reason and has no store now."""
    failures = sample(app, "store_failures_total", reason=reason)
    return bool(failures and not sample(app, "store_up"))


def sample(app: App, name: str, **labels: str) -> float:
    """Return the sum of one store series, without building the others."""
    return sum(
        found.value
        for family in app.metrics.store.collect()
        for found in family.samples
        if found.name == f"candescent_proxy_{name}" and found.labels.items() >= labels.items()
    )


@asynccontextmanager
async def fleet_behind_relay(
    folder: Path, log: CapturedLog, store_timeout: str = "5s"
) -> AsyncIterator[FleetBehindRelay]:
    """Start everything, with permanent callers."""
    (folder / "password").write_text(PASSWORD)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        bank = await enter(Sandbox(Settings(lifetime=LIFETIME)))
        store = await enter(redis_server(folder / "redis", password=PASSWORD))
        network = await enter(TcpRelay(store.port))
        settings: dict[str, Any] = {
            "url": f"redis://127.0.0.1:{network.port}",
            "encryption_key_file": str(write_key(folder / "keys")),
            "password_file": str(folder / "password"),
            "follow": "0.1",
            "timeout": store_timeout,
        }
        apps = [make_app(bank.url, store=settings) for _ in range(3)]
        built = FleetBehindRelay(folder, bank, store, network, log, apps, [])
        for app in apps:
            await app.start()
            stack.push_async_callback(app.stop)
        await until(lambda: all(app.readiness().is_ready for app in apps))
        session = await enter(aiohttp.ClientSession())
        callers = Tasks("callers")
        stack.push_async_callback(callers.cancel)
        for app in apps:
            callers.spawn_background("caller", call(session, app, built.failed))
        yield built


async def call(session: aiohttp.ClientSession, app: App, failed: list[int]) -> None:
    """Call repeatedly; record failures."""
    while True:
        async with session.get(f"{url(app)}/echo") as response:
            if response.status != 200:
                failed.append(response.status)
        await asyncio.sleep(0.1)


async def kill_store(fleet: FleetBehindRelay) -> None:
    """Kill the server."""
    await fleet.store.kill()


async def restart_store(fleet: FleetBehindRelay) -> None:
    """Start it again, empty."""
    await fleet.store.start_again()


async def drop_bytes(fleet: FleetBehindRelay) -> None:
    """Let no bytes through."""
    fleet.network.there.drops_bytes = True


async def slow_down(fleet: FleetBehindRelay) -> None:
    """Delay responses beyond the deadline."""
    fleet.network.back.latency = 1.0


async def reset_connections(fleet: FleetBehindRelay) -> None:
    """Reset every connection."""
    fleet.network.there.reset_after = 0
    fleet.network.reset_all()


async def restore_network(fleet: FleetBehindRelay) -> None:
    """Remove the network faults."""
    fleet.network.restore()


async def stop_store(fleet: FleetBehindRelay) -> None:
    """Stop the process with SIGSTOP."""
    await fleet.store.kill(signal.SIGSTOP)


async def continue_store(fleet: FleetBehindRelay) -> None:
    """Continue the process."""
    fleet.store.process.send_signal(signal.SIGCONT)


async def fill_store(fleet: FleetBehindRelay) -> None:
    """Leave it no memory."""
    await fleet.store.do("CONFIG", "SET", "maxmemory", "1")


async def free_memory(fleet: FleetBehindRelay) -> None:
    """Give it memory again."""
    await fleet.store.do("CONFIG", "SET", "maxmemory", "0")


async def make_replica(fleet: FleetBehindRelay) -> None:
    """Make it a read-only replica of a missing primary."""
    await fleet.store.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
    await fleet.store.do("REPLICAOF", "127.0.0.1", "1")


async def make_primary(fleet: FleetBehindRelay) -> None:
    """Make it a primary again."""
    await fleet.store.do("REPLICAOF", "NO", "ONE")


async def change_password(fleet: FleetBehindRelay) -> None:
    """Change the password on the server only."""
    await fleet.store.do("CONFIG", "SET", "requirepass", "another-moss")
    fleet.network.reset_all()


async def write_new_password(fleet: FleetBehindRelay) -> None:
    """Change it in the file too."""
    (fleet.folder / "password").write_text("another-moss")


async def forbid_scripts(fleet: FleetBehindRelay) -> None:
    """Forbid Lua."""
    await fleet.store.do("ACL", "SETUSER", "default", "-@scripting")


async def allow_scripts(fleet: FleetBehindRelay) -> None:
    """Allow it again."""
    await fleet.store.do("ACL", "SETUSER", "default", "+@scripting")


Do = Callable[[FleetBehindRelay], Awaitable[None]]


FAULTS: tuple[tuple[Do, Do, str], ...] = (
    (kill_store, restart_store, "unreachable"),
    (drop_bytes, restore_network, "timeout"),
    (slow_down, restore_network, "timeout"),
    (reset_connections, restore_network, "unreachable"),
    (stop_store, continue_store, "timeout"),
    (fill_store, free_memory, "full"),
    (make_replica, make_primary, "read_only"),
    (change_password, write_new_password, "login"),
    (forbid_scripts, allow_scripts, "forbidden"),
)


@pytest.fixture
def log() -> Iterator[CapturedLog]:
    """Return the log of the proxies of a test."""
    with captured_log() as written:
        yield written


@pytest.mark.parametrize(
    ("fault", "repair", "reason"), FAULTS, ids=lambda value: getattr(value, "__name__", None)
)
async def test_store_fault_does_not_affect_callers(
    tmp_path: Path, log: CapturedLog, fault: Do, repair: Do, reason: str
) -> None:
    """Each proxy fetches directly, reports why, and shares again afterwards."""
    # On a busy machine operations take long: only these faults may end in a timeout.
    store_timeout = "300ms" if reason == "timeout" else "5s"
    async with fleet_behind_relay(tmp_path, log, store_timeout) as fleet:
        await fault(fleet)
        await fleet.wait_for_direct_fetches(reason)
        await repair(fleet)
        await fleet.wait_for_sharing()
        assert not fleet.failed
    gone = log.lines("token store unavailable; fetching tokens directly")
    assert reason in {line["reason"] for line in gone}
    assert len(log.lines("token store available")) >= len(fleet.apps)
    assert PASSWORD not in log.getvalue()


async def test_emptied_store_costs_one_call(tmp_path: Path, log: CapturedLog) -> None:
    """A lost token is fetched when it is due, once for all."""
    async with fleet_behind_relay(tmp_path, log) as fleet:
        await fleet.store.do("FLUSHALL")
        fleet.bank.bank.token_requests.clear()
        await fleet.wait_for_sharing()
        requests = fleet.bank.bank.token_requests
        assert sum(b.time - a.time < LIFETIME / 4 for a, b in pairwise(requests)) <= 1
        assert not fleet.failed


@pytest.mark.parametrize(
    "planted",
    [
        ("SET", "moss"),
        ("HSET", "entry:k1", "moss" * 30, "fence", "fern", "until", "9e99", "refusal", "k1 moss"),
        ("HSET", "entry:k2", "moss" * 30, "until", "99999999999999"),
    ],
)
async def test_garbage_is_overwritten(
    tmp_path: Path, log: CapturedLog, planted: tuple[str, ...]
) -> None:
    """Any content of a record is replaced."""
    async with fleet_behind_relay(tmp_path, log) as fleet:
        await fleet.store.do("DEL", fleet.record)
        await fleet.store.do(planted[0], fleet.record, *planted[1:])
        fleet.bank.bank.token_requests.clear()
        await until(lambda: fleet.bank.bank.token_requests)
        await fleet.wait_for_sharing()
        if planted[0] == "HSET":
            assert fleet.log.lines("token store entry cannot be decrypted")
        assert not fleet.failed


async def test_proxy_with_another_key_fetches_directly(tmp_path: Path, log: CapturedLog) -> None:
    """Both sides report that keys differ."""
    async with fleet_behind_relay(tmp_path, log) as fleet:
        keys = write_key(tmp_path / "others", key_line("k2", "fern"))
        store = {
            "url": fleet.store.url,
            "encryption_key_file": str(keys),
            "password_file": str(tmp_path / "password"),
            "follow": "0.1",
        }
        other = make_app(fleet.bank.url, store=store)
        await other.start()
        try:
            await until(lambda: sample(other, UNREADABLE))
            await until(lambda: all(sample(app, UNREADABLE) for app in fleet.apps))
            assert sample(other, "store_tokens_total", source="fetched")
        finally:
            await other.stop()
        await fleet.store.do("HDEL", fleet.record, "entry:k2")
        await until(lambda: not any(sample(app, UNREADABLE) for app in fleet.apps))
        assert not fleet.failed
