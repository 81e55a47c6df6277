"""Thirty real proxies in thirty processes share one token per institution, through faults.

Token requests at the sandbox bank are counted, and all responses to callers are checked.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from proxy.sandbox import Fault, Sandbox, Settings, changed
from proxy.sandbox.bank import TokenArrival
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.fleet.encryption import EntryCipher, RecordName, read_keys, record_name
from proxy.tokens.grants import Login
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.process import write_settings
from tests.support.program import slowed
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import DEADLINE, until
from tests.support.secret_search import SecretSearch
from tests.tokens.fleet.encryption_keys import key_line, write_key
from tests.tokens.fleet.members import Member, members
from tests.tokens.fleet.store_log import LeaseHistory, StoreLog

COUNT = 30
INSTITUTIONS = ("00016", "00017", "00018")
CLIENT_ID, SECRET = "sandbox-client-of-the-fleet", "sandbox-secret-of-the-fleet"
MIN_INTERVAL = 0.5
PAUSE = 0.4
"""Seconds between two calls of a caller, of which there is one per proxy."""


@dataclass
class RunningFleet:
    """The proxies, their bank, their store, and permanent callers.

    ``failed`` has responses other than 200, as (member, institution, status, error source).
    """

    bank: Sandbox
    store: RedisServer
    members: list[Member]
    session: aiohttp.ClientSession
    log: StoreLog
    lifetime: float
    failed: list[tuple[int, str, int, str]] = field(default_factory=list)
    answered: int = 0
    uncounted: Counter[str] = field(default_factory=Counter)

    @property
    def living(self) -> list[Member]:
        """The members that have not been killed."""
        return [member for member in self.members if member.is_alive]

    def request_count(self, institution: str = "") -> list[TokenArrival]:
        """Return the number of token requests for an institution, or for all."""
        return [
            request
            for request in self.bank.bank.token_requests
            if institution in ("", request.institution)
        ]

    def forget(self) -> None:
        """Clear the recorded requests and failures."""
        self.uncounted.subtract(request.institution for request in self.request_count())
        self.bank.bank.token_requests.clear()
        self.failed.clear()

    def unexplained(self, institution: str) -> int:
        """Return how many token requests were sent without a lease that permits one.

        A busy machine loses leases, and a lost one permits another request.
        """
        sent = len(self.request_count(institution)) - self.uncounted[institution]
        return sent - self.leases(institution).permitted

    def leases(self, institution: str) -> LeaseHistory:
        """Return the leases of an institution's record so far."""
        return self.log.records[self.record(institution)[1]]

    async def check_requests(self) -> None:
        """Wait until every token request has its lease; MONITOR may lag behind the bank."""
        await until(lambda: all(self.unexplained(name) <= 0 for name in INSTITUTIONS))
        assert not any(self.leases(name).overlapping for name in INSTITUTIONS)

    async def restart_count(self) -> None:
        """Count from now on. Requests that are under way already have their leases."""
        await until(lambda: all(self.record(name)[1] in self.log.records for name in INSTITUTIONS))
        for name in INSTITUTIONS:
            self.uncounted[name] += self.unexplained(name) + 1

    def record(self, institution: str) -> tuple[RecordName, str]:
        """Return the name of an institution's record, and of its Redis key."""
        key = TokenKey(TokenKind.V2, institution)
        name = record_name(self.bank.url, key, Login(Credentials(CLIENT_ID, SECRET)))
        return name, "candescent-proxy:{" + name.text + "}"

    def newest(self, institution: str) -> str:
        """Return the token that the bank issued last."""
        tokens = self.bank.bank.tokens.values()
        return [token.text for token in tokens if token.institution == institution][-1]

    def age(self, institution: str) -> float:
        """Return the age of that token, in seconds."""
        token = self.bank.bank.tokens[self.newest(institution)]
        return self.lifetime - (token.expires_at - time.time())

    async def shared_tokens(self) -> list[str]:
        """Return the tokens in the store, decrypted with the fleet's key."""
        cipher, found = EntryCipher(read_keys([key_line()]), os.urandom), []
        for institution in INSTITUTIONS:
            name, record = self.record(institution)
            entry = await self.store.do("HGET", record, "entry:k1")
            found.append(cipher.decrypt_token(name, "k1", entry).text)
        return found

    async def wait_for_refreshes(self, times: int) -> None:
        """Wait until each institution's token has been refreshed this often."""
        before = {name: len(self.request_count(name)) for name in INSTITUTIONS}
        await until(
            lambda: all(
                len(self.request_count(name)) >= before[name] + times for name in INSTITUTIONS
            )
        )

    async def wait_for_responses(self) -> None:
        """Wait until each living proxy has responded again, for each institution."""
        seen = self.answered
        await until(lambda: self.answered >= seen + 2 * len(self.members) * len(INSTITUTIONS))

    async def wait_for_store(self, *, up: bool) -> None:
        """Wait until each living member reports that the store works, or that it does not."""
        async with asyncio.timeout(DEADLINE):
            for one in self.living:
                await one.wait_for_sample(up, "candescent_proxy_store_up")

    def senders(self) -> set[bytes]:
        """Return the ``User-Agent`` of each proxy that has sent a token request."""
        return {user_agent(request) for request in self.request_count()}

    async def owner(self, institution: str) -> Member:
        """Wait for a slow token request; return its sender."""
        seen = len(self.request_count(institution))
        await until(lambda: len(self.request_count(institution)) > seen)
        agent = user_agent(self.request_count(institution)[seen])
        return next(one for one in self.members if one.user_agent.encode() == agent)

    async def call(self, member: Member, institution: str) -> None:
        """Call through a proxy; record the outcome."""
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
        """Call repeatedly for each institution while the proxy lives."""
        while member.is_alive:
            for institution in INSTITUTIONS:
                await self.call(member, institution)
                await asyncio.sleep(PAUSE)

    def slow_bank(self, seconds: float) -> None:
        """Let token requests take this long from now on."""
        self.bank.bank.settings = changed(self.bank.bank.settings, {"token_latency": seconds})


def user_agent(request: TokenArrival) -> bytes:
    """Return the ``User-Agent`` of a token request."""
    return next(text for name, text in request.headers if name.lower() == b"user-agent")


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[RunningFleet]:
    """Start everything and the callers."""
    (folder / "secret").write_text(SECRET)
    lifetime = slowed(6.0, DEADLINE / 3)
    settings = Settings(lifetime=lifetime, clients={CLIENT_ID: SECRET})
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
            # With two cores for thirty processes a slow store is usually a busy machine.
            store={
                "url": store.url,
                "encryption_key_file": str(write_key(folder / "keys")),
                "timeout": "30",
                "lease": str(lifetime / 6),
                "follow": "2",
            },
        )
        async with (
            monitoring(store, young=lifetime / 4) as log,
            members(folder / "proxy.yaml", COUNT) as all_of_them,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            running = RunningFleet(bank, store, all_of_them, session, log, lifetime)
            callers = [asyncio.create_task(running.keep_calling(m)) for m in all_of_them]
            try:
                yield running
            finally:
                for caller in callers:
                    caller.cancel()
                await asyncio.gather(*callers, return_exceptions=True)


@asynccontextmanager
async def monitoring(store: RedisServer, young: float) -> AsyncIterator[StoreLog]:
    """Record everything that is sent to the store, again after it has restarted empty.

    A token that was shared less than ``young`` seconds ago needs no other.
    """
    log = StoreLog(young=young)

    async def listen() -> None:
        while True:
            with suppress(OSError):
                await record()
            log.records.clear()
            await asyncio.sleep(0.01)

    async def record() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", store.port)
        try:
            writer.write(b"MONITOR\r\n")
            while block := await reader.read(65_536):
                log.add(block)
        finally:
            writer.close()

    listener = asyncio.create_task(listen())
    try:
        await until(lambda: log.text)
        yield log
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def test_thirty_proxies_share_one_token(tmp_path: Path) -> None:
    """During all faults callers get 200, and the bank gets no more requests than needed."""
    async with fleet(tmp_path) as running:
        for phase in (
            start_costs_one_request,
            lifetime_costs_one_request,
            killed_owner_costs_one_request,
            stopped_owner_overwrites_nothing,
            rejected_token_is_replaced_once,
            refusing_bank_gets_few_requests,
            failed_bank_does_not_affect_callers,
            failed_store_does_not_affect_callers,
            store_contains_no_secret,
        ):
            running.failed.clear()
            await phase(running)
            assert not running.failed, phase.__name__


async def start_costs_one_request(running: RunningFleet) -> None:
    """All proxies start with one token request per institution."""
    await running.wait_for_responses()
    await running.check_requests()


async def lifetime_costs_one_request(running: RunningFleet) -> None:
    """A token is refreshed in the second half of its life, by one for all."""
    running.forget()
    await running.wait_for_refreshes(2)
    await running.check_requests()


async def killed_owner_costs_one_request(running: RunningFleet) -> None:
    """A proxy that is killed during its request is replaced."""
    running.forget()
    running.slow_bank(0.5)
    for owner in await asyncio.gather(*map(running.owner, INSTITUTIONS)):
        owner.send(signal.SIGKILL)
    for bystander in running.living[:5]:
        bystander.send(signal.SIGKILL)
    await running.wait_for_refreshes(2)
    running.slow_bank(0)
    await running.check_requests()


async def stopped_owner_overwrites_nothing(running: RunningFleet) -> None:
    """A proxy that is stopped during its request and continues keeps the newer token."""
    running.slow_bank(0.3)
    owner = await running.owner("00016")
    owner.send(signal.SIGSTOP)
    its_token = running.newest("00016")
    await running.owner("00016")  # another has taken over
    running.slow_bank(0)
    await until(lambda: its_token not in running.newest("00016"))
    owner.send(signal.SIGCONT)
    async with asyncio.timeout(DEADLINE):
        await owner.wait_for_sample(True, "candescent_proxy_store_tokens_total", source="uncached")
    assert its_token not in await running.shared_tokens()


async def rejected_token_is_replaced_once(running: RunningFleet) -> None:
    """One proxy fetches another, and all use that."""
    running.forget()
    await running.wait_for_refreshes(1)
    newest = {institution: running.newest(institution) for institution in INSTITUTIONS}
    await until(lambda: all(running.age(name) > MIN_INTERVAL * 2 for name in INSTITUTIONS))
    for text in newest.values():
        running.bank.bank.tokens[text].revoked = True
    await running.wait_for_refreshes(1)
    await running.wait_for_responses()
    await running.check_requests()


async def refusing_bank_gets_few_requests(running: RunningFleet) -> None:
    """A refusal applies to all; one proxy retries."""
    running.forget()
    running.bank.bank.faults += [
        Fault("token", code="CMN_90000", institution=name, times=1) for name in INSTITUTIONS
    ]
    await running.wait_for_refreshes(2)
    for institution in INSTITUTIONS:
        assert [one.outcome for one in running.request_count(institution)].count("CMN_90000") == 1
    await running.check_requests()


async def failed_bank_does_not_affect_callers(running: RunningFleet) -> None:
    """All its connections end; no proxy lacks a token."""
    await running.bank.stop()
    await until(lambda: len(running.failed) > COUNT / 2)
    await running.bank.start(port=urlsplit(running.bank.url).port or 0)
    await running.wait_for_responses()
    assert {source for *_, source in running.failed} == {"upstream"}
    running.failed.clear()


async def failed_store_does_not_affect_callers(running: RunningFleet) -> None:
    """Each proxy fetches once a lifetime; afterwards one fetches for all."""
    running.forget()
    await running.store.kill()
    everyone = {one.user_agent.encode() for one in running.living}
    await until(lambda: running.senders() >= everyone)
    seconds = running.request_count()[-1].time - running.request_count()[0].time
    lives = 1 + seconds / (running.lifetime / 2)
    assert len(running.request_count()) <= lives * len(running.living) * len(INSTITUTIONS)
    await running.wait_for_store(up=False)
    await running.store.start_again()
    await running.wait_for_store(up=True)
    await running.wait_for_refreshes(1)
    await running.restart_count()
    await lifetime_costs_one_request(running)


async def store_contains_no_secret(running: RunningFleet) -> None:
    """Neither a dump of the store nor the recorded commands."""
    await running.store.do("SAVE")
    watch = SecretSearch()
    for text, token in running.bank.bank.tokens.items():
        watch.secret(f"token {token.institution}", text)
    watch.secret("client id", CLIENT_ID)
    watch.secret("client secret", SECRET)
    dump = (running.store.folder / "dump.rdb").read_bytes()
    assert dump.count(b"entry:k1") == len(INSTITUTIONS)
    assert b'"write"' in running.log.text
    watch.add("dump", dump)
    watch.add("monitor", bytes(running.log.text))
    assert not watch.leaks()
