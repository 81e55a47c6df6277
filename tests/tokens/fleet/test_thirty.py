"""Thirty real proxies in thirty processes live on one token for each institution, whatever dies.

Counted is what the sandbox bank was asked; judged is what callers got, from each proxy and for
each institution, all the while.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from proxy.sandbox import Fault, Sandbox, Settings, changed
from proxy.sandbox.bank import TokenArrival
from proxy.tokens.fleet.encryption import EntryCipher, read_keys, record_name
from proxy.tokens.grants import Credentials, Login
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.process import write_settings
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import DEADLINE, until
from tests.support.secret_search import SecretSearch
from tests.tokens.fleet.encryption_keys import key_line, write_key
from tests.tokens.fleet.members import Member, members

COUNT = 30
INSTITUTIONS = ("00016", "00017", "00018")
LIFETIME = 6.0
CLIENT_ID, SECRET = "sandbox-client-of-the-fleet", "sandbox-secret-of-the-fleet"
LEASE = 1.0
MIN_INTERVAL = 0.5


@dataclass
class RunningFleet:
    """The proxies, their bank, their store, and callers that never rest.

    ``failed`` are the answers that were not 200, as (member, institution, status, who erred).
    """

    bank: Sandbox
    store: RedisServer
    members: list[Member]
    session: aiohttp.ClientSession
    failed: list[tuple[int, str, int, str]] = field(default_factory=list)
    answered: int = 0
    monitored: bytearray = field(default_factory=bytearray)

    @property
    def living(self) -> list[Member]:
        """Return those that have not been killed."""
        return [member for member in self.members if member.is_alive]

    def asked(self, institution: str = "") -> list[TokenArrival]:
        """Return the token requests for an institution, or for all, that the bank knows of."""
        return [
            request
            for request in self.bank.bank.token_requests
            if institution in ("", request.institution)
        ]

    def forget(self) -> None:
        """Forget what was asked so far, and what failed."""
        self.bank.bank.token_requests.clear()
        self.failed.clear()

    def too_many(self, institution: str) -> int:
        """Return how many token requests came sooner than half a lifetime after another.

        A quarter, to be fair: on a busy machine a request may be long on its way.
        """
        pairs = pairwise(self.asked(institution))
        return sum(b.time - a.time < LIFETIME / 4 for a, b in pairs)

    def newest(self, institution: str) -> str:
        """Return the token that the bank issued last."""
        tokens = self.bank.bank.tokens.values()
        return [token.text for token in tokens if token.institution == institution][-1]

    def age(self, institution: str) -> float:
        """Return the age of that token, in seconds."""
        token = self.bank.bank.tokens[self.newest(institution)]
        return LIFETIME - (token.expires_at - time.time())

    async def shared_tokens(self) -> list[str]:
        """Return the tokens in the store, opened with the fleet's key."""
        cipher, found = EntryCipher(read_keys([key_line()]), os.urandom), []
        for institution in INSTITUTIONS:
            key = TokenKey(TokenKind.V2, institution)
            name = record_name(self.bank.url, key, Login(Credentials(CLIENT_ID, SECRET)))
            record = "candescent-proxy:{" + name.text + "}"
            entry = await self.store.do("HGET", record, "entry:k1")
            found.append(cipher.decrypt_token(name, "k1", entry).text)
        return found

    async def lives(self, times: int) -> None:
        """Wait until each institution's token has been renewed so often, counted from now."""
        before = {name: len(self.asked(name)) for name in INSTITUTIONS}
        await until(
            lambda: all(len(self.asked(name)) >= before[name] + times for name in INSTITUTIONS), 40
        )

    async def everybody_answered(self) -> None:
        """Wait until each living proxy must have answered again, for each institution."""
        seen = self.answered
        await until(lambda: self.answered >= seen + 2 * len(self.members) * len(INSTITUTIONS))

    async def sum(self, name: str, **labels: str) -> float:
        """Return the sum of a series over the living."""
        found = await asyncio.gather(*(one.sample(name, **labels) for one in self.living))
        return sum(found)

    async def summed(self, least: float, name: str, **labels: str) -> None:
        """Wait until that sum is so much."""
        async with asyncio.timeout(DEADLINE):
            while await self.sum(name, **labels) < least:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.1)

    async def owner(self, institution: str) -> Member:
        """Wait for a token request that the bank is slow to answer; return who sent it."""
        seen = len(self.asked(institution))
        await until(lambda: len(self.asked(institution)) > seen)
        headers = dict(self.asked(institution)[seen].headers)
        agent = next(text for name, text in headers.items() if name.lower() == b"user-agent")
        return next(one for one in self.members if one.user_agent.encode() == agent)

    async def call(self, member: Member, institution: str) -> None:
        """Call through a proxy; note what came of it."""
        headers = {"institutionId": institution}
        try:
            async with self.session.get(
                f"http://{member.listen}/echo", headers=headers
            ) as response:
                status, source = (
                    response.status,
                    response.headers.get("x-proxy-error-source", "bank"),
                )
        except aiohttp.ClientError:
            if member.is_alive:
                self.failed.append((member.number, institution, 0, "cut"))
            return
        if status != 200 and member.is_alive:
            self.failed.append((member.number, institution, status, source))
        self.answered += 1

    async def keep_calling(self, member: Member) -> None:
        """Call without rest, institution by institution, for as long as the proxy lives."""
        while member.is_alive:
            for institution in INSTITUTIONS:
                await self.call(member, institution)
                await asyncio.sleep(0.15)

    def slow_bank(self, seconds: float) -> None:
        """Let token requests take so long from now on."""
        self.bank.bank.settings = changed(self.bank.bank.settings, {"token_latency": seconds})


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[RunningFleet]:
    """Start everything, and the callers."""
    (folder / "secret").write_text(SECRET)
    settings = Settings(lifetime=LIFETIME, clients={CLIENT_ID: SECRET})
    async with (
        Sandbox(settings) as bank,
        redis_server(folder / "redis", "--rdbcompression", "no") as store,
    ):
        write_settings(
            folder / "proxy.yaml",
            bank.url,
            client_id=CLIENT_ID,
            client_secret_file=str(folder / "secret"),
            allowed_institutions=",".join(INSTITUTIONS[1:]),
            log={"level": "error", "access": "off"},
            token={"min_interval": str(MIN_INTERVAL)},
            # Two cores for thirty processes: what is slow here is seldom the store.
            store={
                "url": store.url,
                "encryption_key_file": str(write_key(folder / "keys")),
                "timeout": "3",
                "lease": str(LEASE),
                "follow": "0.5",
            },
        )
        async with members(folder / "proxy.yaml", COUNT) as all_of_them:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                running = RunningFleet(bank, store, all_of_them, session)
                async with monitoring(store, running.monitored):
                    callers = [asyncio.create_task(running.keep_calling(m)) for m in all_of_them]
                    try:
                        yield running
                    finally:
                        for caller in callers:
                            caller.cancel()
                        await asyncio.gather(*callers, return_exceptions=True)


@asynccontextmanager
async def monitoring(store: RedisServer, heard: bytearray) -> AsyncIterator[None]:
    """Write down everything that is said to the store, for as long as it lives."""

    async def listen() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", store.port)
        writer.write(b"MONITOR\r\n")
        with suppress(OSError):
            while block := await reader.read(65_536):
                heard.extend(block)
        writer.close()

    listener = asyncio.create_task(listen())
    try:
        yield
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def test_thirty_proxies_live_on_one_token(tmp_path: Path) -> None:
    """Through everything below, callers never notice, and the bank is asked no more than needed."""
    async with fleet(tmp_path) as running:
        for phase in (
            a_start_is_one_request,
            quiet_is_one_request_a_lifetime,
            killed_owners_cost_a_lease,
            a_stopped_owner_overwrites_nothing,
            a_rejected_token_is_rejected_for_all_once,
            a_refusing_bank_is_not_stormed,
            a_dead_bank_is_survived,
            a_dead_store_is_survived,
            nothing_can_be_read,
        ):
            running.failed.clear()
            await phase(running)
            assert not running.failed, phase.__name__


async def a_start_is_one_request(running: RunningFleet) -> None:
    """All have started, and every one has a token for each institution."""
    await running.everybody_answered()
    assert not any(map(running.too_many, INSTITUTIONS))


async def quiet_is_one_request_a_lifetime(running: RunningFleet) -> None:
    """A token is renewed in the second half of its life, by one for all."""
    running.forget()
    await running.lives(2)
    assert not any(map(running.too_many, INSTITUTIONS))


async def killed_owners_cost_a_lease(running: RunningFleet) -> None:
    """One that is killed while it asks is replaced; its call is the only one too many."""
    running.forget()
    running.slow_bank(0.5)
    for owner in await asyncio.gather(*map(running.owner, INSTITUTIONS)):
        owner.send(signal.SIGKILL)
    for bystander in running.living[:5]:
        bystander.send(signal.SIGKILL)
    await running.lives(2)
    running.slow_bank(0)
    for institution in INSTITUTIONS:
        assert running.too_many(institution) <= 1


async def a_stopped_owner_overwrites_nothing(running: RunningFleet) -> None:
    """One that is stopped while it asks, and goes on later, leaves the newer token alone."""
    running.slow_bank(0.3)
    owner = await running.owner("00016")
    owner.send(signal.SIGSTOP)
    its_token = running.newest("00016")
    await running.owner("00016")  # another has taken over
    running.slow_bank(0)
    await until(lambda: its_token not in running.newest("00016"))
    owner.send(signal.SIGCONT)
    async with asyncio.timeout(DEADLINE):
        name = "candescent_proxy_store_tokens_total"
        while not await owner.sample(name, source="uncached"):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.05)
    assert its_token not in await running.shared_tokens()


async def a_rejected_token_is_rejected_for_all_once(running: RunningFleet) -> None:
    """The bank refuses a token before its end: one asks for another, and all take that."""
    running.forget()
    await running.lives(1)
    newest = {institution: running.newest(institution) for institution in INSTITUTIONS}
    await until(lambda: all(running.age(name) > MIN_INTERVAL * 2 for name in INSTITUTIONS))
    for text in newest.values():
        running.bank.bank.tokens[text].revoked = True
    await running.lives(1)
    await running.everybody_answered()
    for institution in INSTITUTIONS:
        assert running.too_many(institution) <= 1


async def a_refusing_bank_is_not_stormed(running: RunningFleet) -> None:
    """What the bank answers to one binds all; one asks again."""
    running.forget()
    running.bank.bank.faults += [
        Fault("token", code="CMN_90000", institution=name, times=1) for name in INSTITUTIONS
    ]
    await running.lives(2)
    for institution in INSTITUTIONS:
        assert [one.outcome for one in running.asked(institution)].count("CMN_90000") == 1
        assert running.too_many(institution) <= 1


async def a_dead_bank_is_survived(running: RunningFleet) -> None:
    """It is gone for a moment, with all its connections; nobody lacks a token because of it."""
    await running.bank.stop()
    await until(lambda: len(running.failed) > COUNT / 2)
    await running.bank.start(port=urlsplit(running.bank.url).port or 0)
    await running.everybody_answered()
    assert {source for *_, source in running.failed} == {"upstream"}
    running.failed.clear()


async def a_dead_store_is_survived(running: RunningFleet) -> None:
    """Each asks for itself meanwhile, once a lifetime; afterwards one asks for all again."""
    running.forget()
    await running.store.kill()
    await running.summed(
        len(running.living), "candescent_proxy_store_tokens_total", source="direct"
    )
    seconds = running.asked()[-1].time - running.asked()[0].time
    lives = 1 + seconds / (LIFETIME / 2)
    assert len(running.asked()) <= lives * len(running.living) * len(INSTITUTIONS)
    assert await running.sum("candescent_proxy_store_up") == 0
    await running.store.start_again()
    await running.summed(len(running.living), "candescent_proxy_store_up")
    await running.lives(1)
    await quiet_is_one_request_a_lifetime(running)


async def nothing_can_be_read(running: RunningFleet) -> None:
    """Neither in a dump of the store nor in what was said to it stands a secret."""
    await running.store.do("SAVE")
    watch = SecretSearch()
    for text, token in running.bank.bank.tokens.items():
        watch.secret(f"token {token.institution}", text)
    watch.secret("client id", CLIENT_ID)
    watch.secret("client secret", SECRET)
    dump = (running.store.folder / "dump.rdb").read_bytes()
    assert dump.count(b"entry:k1") == len(INSTITUTIONS)
    assert b'"write"' in running.monitored
    watch.add("dump", dump)
    watch.add("monitor", bytes(running.monitored))
    assert not watch.leaks()
