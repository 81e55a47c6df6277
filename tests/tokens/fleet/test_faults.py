"""The store is a convenience: whatever is wrong with it, callers do not notice.

Three proxies with one bank and one store; one fault at a time, and what must hold for each: no
request fails, every proxy goes on with a token of its own, says so in its metrics and in the log,
and shares again by itself when the fault is over.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.runtime.app import App
from proxy.sandbox import Sandbox, Settings
from proxy.tasks import Tasks
from proxy.tokens.fleet.encryption import record_name
from proxy.tokens.grants import Credentials, Login
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.captured_log import Logbook, logbook
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import CLIENT, make_app, until, url
from tests.support.tcp_relay import Relay
from tests.tokens.fleet.encryption_keys import key_line, write_key

LIFETIME = 2.0
PASSWORD = "moss-of-the-store"
UNREADABLE = "store_entries_unreadable"
KEY = TokenKey(TokenKind.V2, "00016")


@dataclass
class Street:
    """Three proxies, their bank and store, and the network between them and the store."""

    folder: Path
    bank: Sandbox
    store: RedisServer
    network: Relay
    book: Logbook
    apps: list[App]
    failed: list[int]

    @property
    def record(self) -> str:
        """Return the name of the one record that there is."""
        login = Login(Credentials(CLIENT["client_id"], CLIENT["client_secret"]))
        return "candescent-proxy:{" + record_name(self.bank.url, KEY, login).text + "}"

    def came(self, app: App, *sources: str) -> float:
        """Return how many of a proxy's tokens came this way."""
        return sum(sample(app, "store_tokens_total", source=source) for source in sources)

    async def each_for_itself(self, reason: str) -> None:
        """Wait until each proxy has said why, and has got a token by itself since."""
        await until(
            lambda: all(
                not sample(app, "store_up") and sample(app, "store_failures_total", reason=reason)
                for app in self.apps
            ),
            20,
        )
        before = [self.came(app, "direct", "uncached") for app in self.apps]
        await until(
            lambda: all(
                self.came(app, "direct", "uncached") > had
                for app, had in zip(self.apps, before, strict=True)
            ),
            20,
        )

    async def shares_again(self) -> None:
        """Wait until all use the store, and one asks for all."""
        await until(lambda: all(sample(app, "store_up") for app in self.apps), 20)
        before = [self.came(app, "shared") for app in self.apps]
        await until(
            lambda: (
                sum(
                    self.came(app, "shared") > had
                    for app, had in zip(self.apps, before, strict=True)
                )
                >= len(self.apps) - 1
            ),
            20,
        )


def sample(app: App, name: str, **labels: str) -> float:
    """Return the sum of one of the store's series, without making all the others."""
    return sum(
        found.value
        for family in app.metrics.store.collect()
        for found in family.samples
        if found.name == f"candescent_proxy_{name}" and found.labels.items() >= labels.items()
    )


@asynccontextmanager
async def street(folder: Path, book: Logbook) -> AsyncIterator[Street]:
    """Start everything, with callers that never rest."""
    (folder / "password").write_text(PASSWORD)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        bank = await enter(Sandbox(Settings(lifetime=LIFETIME)))
        store = await enter(redis_server(folder / "redis", password=PASSWORD))
        network = await enter(Relay(store.port))
        settings: dict[str, Any] = {
            "url": f"redis://127.0.0.1:{network.port}",
            "encryption_key_file": str(write_key(folder / "keys")),
            "password_file": str(folder / "password"),
            "follow": "0.1",
            "timeout": "0.3",
        }
        apps = [make_app(bank.url, store=settings) for _ in range(3)]
        built = Street(folder, bank, store, network, book, apps, [])
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
    """Call without rest; note what did not go well."""
    while True:
        async with session.get(f"{url(app)}/echo") as answer:
            if answer.status != 200:
                failed.append(answer.status)
        await asyncio.sleep(0.1)


async def dies(here: Street) -> None:
    """Kill the server."""
    await here.store.kill()


async def lives_again(here: Street) -> None:
    """Start it again, empty."""
    await here.store.start_again()


async def is_silent(here: Street) -> None:
    """Let nothing through."""
    here.network.there.hole = True


async def is_slow(here: Street) -> None:
    """Let answers take longer than the deadline."""
    here.network.back.latency = 1.0


async def is_reset(here: Street) -> None:
    """Reset every connection."""
    here.network.there.reset_after = 0
    here.network.reset_all()


async def is_healed(here: Street) -> None:
    """Let the network be well."""
    here.network.heal()


async def stops(here: Street) -> None:
    """Stop the process, as a debugger or a starved machine does."""
    await here.store.kill(signal.SIGSTOP)


async def goes_on(here: Street) -> None:
    """Let it go on."""
    here.store.process.send_signal(signal.SIGCONT)


async def is_full(here: Street) -> None:
    """Leave it no memory."""
    await here.store.do("CONFIG", "SET", "maxmemory", "1")


async def has_room(here: Street) -> None:
    """Give it memory again."""
    await here.store.do("CONFIG", "SET", "maxmemory", "0")


async def is_replica(here: Street) -> None:
    """Make it a read-only replica of nobody that there is."""
    await here.store.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
    await here.store.do("REPLICAOF", "127.0.0.1", "1")


async def is_primary(here: Street) -> None:
    """Make it a primary again."""
    await here.store.do("REPLICAOF", "NO", "ONE")


async def has_another_password(here: Street) -> None:
    """Change the password on the server only."""
    await here.store.do("CONFIG", "SET", "requirepass", "another-moss")
    here.network.reset_all()


async def password_is_told(here: Street) -> None:
    """Change it in the file, too."""
    (here.folder / "password").write_text("another-moss")


async def has_no_scripts(here: Street) -> None:
    """Forbid Lua."""
    await here.store.do("ACL", "SETUSER", "default", "-@scripting")


async def has_scripts(here: Street) -> None:
    """Allow it again."""
    await here.store.do("ACL", "SETUSER", "default", "+@scripting")


Do = Callable[[Street], Awaitable[None]]


FAULTS: tuple[tuple[Do, Do, str], ...] = (
    (dies, lives_again, "unreachable"),
    (is_silent, is_healed, "timeout"),
    (is_slow, is_healed, "timeout"),
    (is_reset, is_healed, "unreachable"),
    (stops, goes_on, "timeout"),
    (is_full, has_room, "full"),
    (is_replica, is_primary, "read_only"),
    (has_another_password, password_is_told, "login"),
    (has_no_scripts, has_scripts, "forbidden"),
)


@pytest.mark.timeout(120)
async def test_nobody_depends_on_the_store(tmp_path: Path) -> None:
    """Each goes on with its own token, says so and why, and comes back by itself.

    All faults at once, each in a street of its own: most of the time they wait.
    """
    with logbook() as book:
        async with asyncio.TaskGroup() as streets:
            for breaks, mends, reason in FAULTS:
                folder = tmp_path / getattr(breaks, "__name__", "")
                folder.mkdir()
                streets.create_task(survives(folder, book, breaks, mends, reason))
        gone = book.lines("token store unavailable; fetching tokens directly")
        assert {line["reason"] for line in gone} >= {reason for _, _, reason in FAULTS}
        assert len(book.lines("token store available")) >= 3 * len(FAULTS)
        assert PASSWORD not in book.getvalue()


async def survives(folder: Path, book: Logbook, breaks: Do, mends: Do, reason: str) -> None:
    """Let a fault come and go; nobody may notice but the metrics."""
    try:
        async with street(folder, book) as here:
            await breaks(here)
            await here.each_for_itself(reason)
            await mends(here)
            await here.shares_again()
            assert not here.failed
    except BaseException as error:
        error.add_note(f"while the store {getattr(breaks, '__name__', '')}")
        raise


@pytest.fixture
def book() -> Iterator[Logbook]:
    """Return what the proxies of a test write down."""
    with logbook() as written:
        yield written


async def test_an_emptied_store_costs_one_call(tmp_path: Path, book: Logbook) -> None:
    """What is gone is asked for when it is due, by one for all."""
    async with street(tmp_path, book) as here:
        await here.store.do("FLUSHALL")
        here.bank.bank.token_requests.clear()
        await here.shares_again()
        requests = here.bank.bank.token_requests
        assert sum(b.time - a.time < LIFETIME / 4 for a, b in pairwise(requests)) <= 1
        assert not here.failed


@pytest.mark.parametrize(
    "planted",
    [
        ("SET", "moss"),
        ("HSET", "entry:k1", "moss" * 30, "fence", "fern", "until", "9e99", "refusal", "k1 moss"),
        ("HSET", "entry:k2", "moss" * 30, "until", "99999999999999"),
    ],
)
async def test_garbage_is_written_over(
    tmp_path: Path, book: Logbook, planted: tuple[str, ...]
) -> None:
    """Whatever somebody puts in the place of the record, it gets nobody stuck."""
    async with street(tmp_path, book) as here:
        await here.store.do("DEL", here.record)
        await here.store.do(planted[0], here.record, *planted[1:])
        here.bank.bank.token_requests.clear()
        await until(lambda: here.bank.bank.token_requests)
        await here.shares_again()
        if planted[0] == "HSET":
            assert here.book.lines("token store entry cannot be decrypted")
        assert not here.failed


async def test_a_fleet_of_two_minds(tmp_path: Path, book: Logbook) -> None:
    """A proxy with another key lives on its own token, and both sides say that there are two."""
    async with street(tmp_path, book) as here:
        keys = write_key(tmp_path / "others", key_line("k2", "fern"))
        store = {
            "url": here.store.url,
            "encryption_key_file": str(keys),
            "password_file": str(tmp_path / "password"),
            "follow": "0.1",
        }
        other = make_app(here.bank.url, store=store)
        await other.start()
        try:
            await until(lambda: sample(other, UNREADABLE), 20)
            await until(lambda: all(sample(app, UNREADABLE) for app in here.apps), 20)
            assert sample(other, "store_tokens_total", source="fetched")
        finally:
            await other.stop()
        await here.store.do("HDEL", here.record, "entry:k2")
        await until(lambda: not any(sample(app, UNREADABLE) for app in here.apps), 20)
        assert not here.failed
