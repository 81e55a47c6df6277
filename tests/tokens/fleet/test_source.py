"""Several proxies' token sources with one real store: who fetches, who shares."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.errors import TokenError, kinds
from proxy.tokens.fleet.encryption import EntryCipher, RecordName, read_keys, record_name
from proxy.tokens.fleet.events import (
    AcquisitionSource,
    StoreEvent,
    StoreOperation,
    TokenAcquired,
)
from proxy.tokens.fleet.lease_policy import LeasePolicy
from proxy.tokens.fleet.source import SharedTokenSource, StoreUpdate
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Token, TokenKey
from proxy.tokens.token_response import TokenExpiringError
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import DEADLINE, until
from tests.support.tcp_relay import TcpRelay
from tests.tokens.fleet.encryption_keys import key_line
from tests.tokens.fleet.store_harness import owner, store
from tests.tokens.fleet.test_encryption import BASE, LOGIN
from tests.tokens.harness import HOUR, KEY, OTHER, FakeTokenSource, SimulatedClock, failure

POLICY = LeasePolicy(
    lease=0.5,
    first_lease=0.5,
    max_wait=1.0,
    spread=0.2,
    probe_wait=0.05,
    longest_poll_with_token=0.1,
)
REFRESH = RefreshPolicy(backoff_initial=0.2, refusal_memory=0.3, throttle_initial=0.4)


@dataclass
class SimulatedProxy:
    """One simulated proxy. ``cached`` is its cache."""

    shared: SharedTokenSource
    events: list[StoreEvent]
    cached: dict[TokenKey, Token] = field(default_factory=dict)

    async def token(self, key: TokenKey = KEY) -> Token:
        """Get a token and cache it."""
        token = self.cached[key] = await self.shared.token(key)
        return token

    def reject(self, key: TokenKey = KEY) -> None:
        """Drop the current token, as the cache does when the bank refuses it."""
        self.shared.reject(self.cached.pop(key))

    @property
    def sources(self) -> list[AcquisitionSource]:
        """The sources of its tokens."""
        return [event.source for event in self.events if isinstance(event, TokenAcquired)]


@dataclass
class FleetHarness:
    """Proxies on one clock, with one bank and one store."""

    server: RedisServer
    clock: SimulatedClock
    source: FakeTokenSource
    stack: AsyncExitStack

    async def proxy(
        self,
        *lines: str,
        user: bool = False,
        url: str = "",
        source: FakeTokenSource | None = None,
    ) -> SimulatedProxy:
        """Add a proxy; ``lines`` are its encryption keys, ``user`` makes its tokens a user's.

        ``url`` is its URL of the store, ``source`` its way to the bank.
        """
        made, events = await self.stack.enter_async_context(store(url or self.server.url))
        names: dict[TokenKey, RecordName] = {
            key: record_name(BASE, key, LOGIN) for key in (KEY, OTHER)
        }
        shared = SharedTokenSource(
            source or self.source,
            made,
            EntryCipher(read_keys(lines or [key_line()]), os.urandom),
            name_for=lambda key: None if user else names[key],
            policy=POLICY,
            refresh=REFRESH,
            clock=self.clock,
            chance=random.random,
            emit=events.events.append,
        )
        self.stack.push_async_callback(shared.close)
        proxy = SimulatedProxy(shared, events.events)
        shared.cached_token = lambda key: proxy.cached.get(key)  # noqa: PLW0108 - tests put others there
        return proxy


@asynccontextmanager
async def fleet_harness(folder: Path) -> AsyncIterator[FleetHarness]:
    """Start a server; the clock is set to its time and does not advance."""
    async with redis_server(folder / "redis") as server, AsyncExitStack() as stack:
        seconds, micro = await server.do("TIME")
        clock = SimulatedClock(wall=int(seconds) + int(micro) / 1e6)
        yield FleetHarness(server, clock, FakeTokenSource(clock), stack)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[FleetHarness]:
    """Return a harness with its server."""
    async with fleet_harness(tmp_path) as built:
        yield built


async def test_one_fetches_for_all(harness: FleetHarness) -> None:
    """Concurrent requests of a fleet cause one token request."""
    proxies = [await harness.proxy() for _ in range(12)]
    harness.source.may_answer.clear()
    needs = asyncio.gather(*(proxy.token() for proxy in proxies))
    await until(lambda: harness.source.requested_keys)
    harness.source.may_answer.set()
    tokens = await needs
    assert {token.text for token in tokens} == {"token-1"}
    assert sum(token.is_from_store for token in tokens) == 11
    origins = [origin for proxy in proxies for origin in proxy.sources]
    assert sorted(origins) == [AcquisitionSource.FETCHED] + [AcquisitionSource.SHARED] * 11


async def test_keys_do_not_wait_for_each_other(harness: FleetHarness) -> None:
    """A lease is for one key."""
    first, second = await harness.proxy(), await harness.proxy()
    harness.source.may_answer.clear()
    needs = asyncio.gather(first.token(KEY), second.token(OTHER))
    await until(lambda: len(harness.source.requested_keys) == 2)
    harness.source.may_answer.set()
    await needs
    assert len(await harness.server.records()) == 2


async def test_newer_token_is_shared_before_expiry(harness: FleetHarness) -> None:
    """A proxy with a due token looks first; only the first fetches."""
    first, second = await harness.proxy(), await harness.proxy()
    await first.token()
    await second.token()
    harness.clock.advance(3300)
    assert (await first.token()).text == "token-2"
    assert (await second.token()).text == "token-2"
    assert len(harness.source.requested_keys) == 2


async def test_shared_token_keeps_its_age(harness: FleetHarness) -> None:
    """Its lifetime starts when it was issued, by the store's clock."""
    first, second = await harness.proxy(), await harness.proxy()
    await first.token()
    await asyncio.sleep(0.05)
    token = await second.token()
    assert token.is_from_store
    assert HOUR - 60 < token.remaining(harness.clock()) <= HOUR - 0.05


async def test_expired_token_is_never_shared(harness: FleetHarness) -> None:
    """Expired by the store's clock is expired, whatever the reader's says."""
    harness.source.lifetime = 0.3
    first, second = await harness.proxy(), await harness.proxy()
    await first.token()
    harness.clock.set_wall(-3600)
    await asyncio.sleep(0.35)  # by the store's clock, which is not simulated
    assert (await second.token()).text == "token-2"


@pytest.mark.parametrize("skew", [-600.0, 600.0])
async def test_skewed_clock_costs_no_call(harness: FleetHarness, skew: float) -> None:
    """A proxy ten minutes ahead or behind uses the tokens of the others, and they use its own."""
    harness.source.lifetime = 20.0
    first, second = await harness.proxy(), await harness.proxy()
    await first.token()
    harness.clock.set_wall(skew)
    assert (await second.token()).is_from_store
    second.reject()
    token = await second.token()
    harness.clock.set_wall(-skew)
    third = await harness.proxy()
    assert (await third.token()).text == token.text
    assert len(harness.source.requested_keys) == 2


async def test_rejected_token_is_replaced_once_for_all(harness: FleetHarness) -> None:
    """All proxies drop it, and one fetches another."""
    proxies = [await harness.proxy() for _ in range(5)]
    for proxy in proxies:
        await proxy.token()
    proxies[0].reject()
    await until_rejected(proxies[1])
    newcomer = await harness.proxy()
    tokens = await asyncio.gather(newcomer.token(), proxies[0].token())
    for proxy in proxies[1:]:
        proxy.reject()
        await proxy.token()
    assert {token.text for token in tokens} == {"token-2"}
    assert len(harness.source.requested_keys) == 2


async def until_rejected(proxy: SimulatedProxy) -> None:
    """Wait until a proxy has seen that its token is rejected."""
    async with asyncio.timeout(DEADLINE):
        while not (await proxy.shared.poll(KEY)).is_rejected:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)


async def test_rejection_ends_a_wait(
    harness: FleetHarness,
) -> None:
    """A proxy that waits for another's fetch looks at once when its own token is refused."""
    first, second = await harness.proxy(), await harness.proxy()
    await first.token()
    await second.token()
    harness.clock.advance(3300)
    harness.source.may_answer.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: len(harness.source.requested_keys) == 2)
    waiting = asyncio.ensure_future(second.token())
    await asyncio.sleep(0.05)
    second.reject()
    harness.source.may_answer.set()
    assert (await fetching).text == (await waiting).text == "token-2"


async def test_follower_sees_the_newer_token(harness: FleetHarness) -> None:
    """A token that is not better is not returned."""
    first, second = await harness.proxy(), await harness.proxy()
    await first.token()
    news = await second.shared.poll(KEY)
    assert (news.is_rejected, getattr(news.newer_token, "text", "")) == (False, "token-1")
    await second.token()
    assert await second.shared.poll(KEY) == StoreUpdate()


async def test_token_from_the_follower_ends_a_wait(harness: FleetHarness) -> None:
    """The follower may be faster than the waiting request."""
    first, second = await harness.proxy(), await harness.proxy()
    await first.token()
    await second.token()
    harness.clock.advance(3300)
    harness.source.may_answer.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: len(harness.source.requested_keys) == 2)
    waiting = asyncio.ensure_future(second.token())
    await asyncio.sleep(0.05)
    harness.source.may_answer.set()
    second.cached[KEY] = await fetching
    assert (await waiting).text == "token-2"
    assert len(harness.source.requested_keys) == 2


async def test_lease_is_renewed_during_a_slow_fetch(harness: FleetHarness) -> None:
    """The others keep waiting."""
    first, second = await harness.proxy(), await harness.proxy()
    harness.source.may_answer.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: harness.source.requested_keys)
    waiting = asyncio.ensure_future(second.token())
    await asyncio.sleep(POLICY.lease * 2)
    harness.source.may_answer.set()
    assert (await fetching).text == (await waiting).text == "token-1"


async def test_refusal_of_the_bank_applies_to_all(harness: FleetHarness) -> None:
    """Quota, spike and refusals: the others fail without a request until it ends."""
    proxies = [await harness.proxy() for _ in range(5)]
    harness.source.fail(TokenError(kinds.TOKEN_THROTTLED, "Too much.", code="CMN_90002"))
    for proxy in proxies:
        with pytest.raises(TokenError) as caught:
            await proxy.token()
        assert (caught.value.reason, caught.value.code) == (kinds.TOKEN_THROTTLED, "CMN_90002")
        if proxy is not proxies[0]:
            assert 0 < (caught.value.retry_after or 0) <= REFRESH.throttle_initial
    assert len(harness.source.requested_keys) == 1
    assert [proxy.sources[-1] for proxy in proxies] == [
        AcquisitionSource.FAILED,
        *[AcquisitionSource.REFUSED] * 4,
    ]
    harness.source.errors.clear()
    async with asyncio.timeout(DEADLINE):
        while len(harness.source.requested_keys) < 2:
            try:
                await proxies[3].token()
            except TokenError:
                await asyncio.sleep(0.02)
    assert (await proxies[4].token()).text == "token-2"


async def test_back_off_is_shared(harness: FleetHarness) -> None:
    """The fleet backs off like one proxy."""
    harness.source.fail(TokenError(kinds.TOKEN_THROTTLED, "Too much."))
    waits = []
    for _ in range(3):
        proxy = await harness.proxy()
        with pytest.raises(TokenError):
            await proxy.token()
        with pytest.raises(TokenError) as caught:
            await proxy.token()
        waits.append(caught.value.retry_after or 0.0)
        await asyncio.sleep(waits[-1] + 0.02)
    assert waits[0] < 0.4 < waits[2]
    assert len(harness.source.requested_keys) == 3


async def test_network_failure_of_one_proxy_is_not_shared(harness: FleetHarness) -> None:
    """One machine without a network does not stop the others, however often it tries."""
    first, second = await harness.proxy(), await harness.proxy()
    harness.source.fail(failure(kinds.TOKEN_UNREACHABLE))
    for _ in range(3):
        with pytest.raises(TokenError):
            await first.token()
    harness.source.errors.clear()
    assert (await second.token()).text == "token-4"


async def test_network_failure_of_two_proxies_is_shared(harness: FleetHarness) -> None:
    """Then one call at a time is made for all."""
    proxies = [await harness.proxy() for _ in range(5)]
    harness.source.fail(TokenError(kinds.TOKEN_TIMEOUT, retry_after=60.0))
    shared = []
    for proxy in proxies:
        with pytest.raises(TokenError) as caught:
            await proxy.token()
        shared.append(caught.value.is_shared)
    assert shared == [False, False, True, True, True]
    assert len(harness.source.requested_keys) == 2


async def test_network_failure_of_one_proxy_shortens_no_wait(harness: FleetHarness) -> None:
    """The next proxy gets a token from a slow bank, and the others wait for it."""
    broken, second, third = [await harness.proxy() for _ in range(3)]
    harness.source.fail(failure(kinds.TOKEN_UNREACHABLE))
    with pytest.raises(TokenError):
        await broken.token()
    harness.source.errors.clear()
    harness.source.may_answer.clear()
    fetching = asyncio.ensure_future(second.token())
    await until(lambda: len(harness.source.requested_keys) == 2)
    waiting = asyncio.ensure_future(third.token())
    await until(lambda: third.events)
    harness.clock.advance(POLICY.probe_wait * 2)
    reads = len(third.events)
    await until(lambda: waiting.done() or len(third.events) > reads + 1)
    harness.source.may_answer.set()
    assert (await waiting).text == (await fetching).text == "token-2"


async def test_wait_for_a_lease_is_bounded(harness: FleetHarness) -> None:
    """By the time of one call to the bank, as without a store."""
    proxy = await harness.proxy()
    name = record_name(BASE, KEY, LOGIN).text
    made, _ = await harness.stack.enter_async_context(store(harness.server.url))
    record = "moss:{" + name + "}"
    await made.lease(name, owner(), 50, ())
    waiting = asyncio.ensure_future(proxy.token())
    await asyncio.sleep(0.1)
    harness.clock.advance(POLICY.max_wait)
    with pytest.raises(TokenError) as caught:
        await waiting
    assert (caught.value.reason, caught.value.is_shared) == (kinds.TOKEN_TIMEOUT, True)
    assert proxy.sources == [AcquisitionSource.REFUSED]
    assert not harness.source.requested_keys
    assert await harness.server.do("HLEN", record) == 3


async def test_call_after_a_wait_has_the_rest_of_its_time(harness: FleetHarness) -> None:
    """The bank hangs, and a killed proxy had the lease: the wait is not longer for that."""
    proxy = await harness.proxy()
    harness.source.may_answer.clear()
    made, _ = await harness.stack.enter_async_context(store(harness.server.url))
    await made.lease(record_name(BASE, KEY, LOGIN).text, owner(), 0.2, ())
    waiting = asyncio.ensure_future(proxy.token())
    await asyncio.sleep(0.1)
    harness.clock.advance(0.3)
    with pytest.raises(TokenError) as caught:
        await waiting
    assert caught.value.reason is kinds.TOKEN_TIMEOUT
    assert len(harness.source.requested_keys) == 1


async def test_slow_store_leaves_the_call_the_rest_of_its_time(harness: FleetHarness) -> None:
    """The bank hangs, and the store's replies took their time before."""
    async with TcpRelay(harness.server.port) as way:
        proxy = await harness.proxy(url=f"redis://127.0.0.1:{way.port}")
        harness.source.may_answer.clear()
        way.received = lambda block: harness.clock.advance(0.3) if b"lease" in block else None
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(TokenError) as caught:
                await proxy.token()
        assert caught.value.reason is kinds.TOKEN_TIMEOUT
        assert len(harness.source.requested_keys) == 1


async def test_lost_reply_to_the_lease_request_loses_no_lease(harness: FleetHarness) -> None:
    """The proxy with a token asks again and gets the lease that it did not know of."""
    async with TcpRelay(harness.server.port) as way:
        proxy = await harness.proxy(url=f"redis://127.0.0.1:{way.port}")
        await proxy.token()
        harness.clock.advance(3300)
        leases = 0

        def cut_reply(block: bytes) -> None:
            nonlocal leases
            if b"lease" in block:
                leases += 1
                way.back.cut_after = 0 if leases == 1 else None

        way.received = cut_reply
        waiting = asyncio.ensure_future(proxy.token())
        await until(lambda: leases == 1)
        while not waiting.done():
            way.back.cut_after = None
            harness.clock.advance(0.001)
            await asyncio.sleep(0.01)
        assert (await waiting).text == "token-2"
        assert proxy.sources == [AcquisitionSource.FETCHED] * 2
        assert leases == 2


async def test_caller_waits_for_no_store_that_cuts_its_replies(harness: FleetHarness) -> None:
    """At the first lost reply the proxy calls the bank."""
    async with TcpRelay(harness.server.port) as way:
        way.back.cut_after = 300
        proxies = [await harness.proxy(url=f"redis://127.0.0.1:{way.port}") for _ in range(4)]
        for round_number in range(3):
            for proxy in proxies:
                if round_number:
                    proxy.reject()
                async with asyncio.timeout(DEADLINE):
                    await proxy.token()  # the clock does not advance: no wait for it would end
        found = {origin for proxy in proxies for origin in proxy.sources}
    assert AcquisitionSource.DIRECT in found or AcquisitionSource.UNCACHED in found


async def test_store_is_read_before_a_failure_counts(harness: FleetHarness) -> None:
    """A proxy that was suspended during its call uses the token that another has fetched."""
    own = FakeTokenSource(harness.clock)
    own.may_answer.clear()
    own.fail(failure(kinds.TOKEN_TIMEOUT))
    late, other = await harness.proxy(source=own), await harness.proxy()
    fetching = asyncio.ensure_future(late.token())
    await until(lambda: own.requested_keys)
    await harness.server.do("FLUSHALL")  # as if its lease had ended
    token = await other.token()
    own.may_answer.set()
    assert (await fetching).text == token.text
    assert late.sources == [AcquisitionSource.SHARED]


async def test_without_a_store_each_fetches(harness: FleetHarness) -> None:
    """Within the spread; such tokens are not shared or rejected in the store."""
    proxies = [await harness.proxy() for _ in range(3)]
    await harness.server.kill()
    needs = [asyncio.ensure_future(proxy.token()) for proxy in proxies]
    tokens = await asyncio.gather(*needs)
    assert len({token.text for token in tokens}) == 3
    assert [proxy.sources for proxy in proxies] == [[AcquisitionSource.DIRECT]] * 3
    await harness.server.start_again()
    proxies[0].reject()
    proxies[1].reject()
    async with asyncio.timeout(DEADLINE):
        while proxies[1].sources[-1] is AcquisitionSource.DIRECT or len(proxies[1].sources) < 2:
            await proxies[1].token()
            harness.clock.advance(0.05)


async def test_store_that_fails_during_a_fetch(harness: FleetHarness) -> None:
    """The proxy still gets its token."""
    proxy = await harness.proxy()
    harness.source.may_answer.clear()
    fetching = asyncio.ensure_future(proxy.token())
    await until(lambda: harness.source.requested_keys)
    await harness.server.kill()
    harness.source.may_answer.set()
    assert (await fetching).text == "token-1"
    assert proxy.sources == [AcquisitionSource.UNCACHED]


async def test_token_of_a_lost_lease_is_not_shared(harness: FleetHarness) -> None:
    """It is used, but the store has another's."""
    late, other = await harness.proxy(), await harness.proxy()
    harness.source.may_answer.clear()
    fetching = asyncio.ensure_future(late.token())
    await until(lambda: harness.source.requested_keys)
    await harness.server.do("FLUSHALL")
    waiting = asyncio.ensure_future(other.token())
    await until(lambda: len(harness.source.requested_keys) == 2)
    harness.source.may_answer.set()
    tokens = await asyncio.gather(fetching, waiting)
    assert [token.is_from_store for token in tokens] == [False, False]
    assert late.sources == [AcquisitionSource.UNCACHED]
    assert [late.shared.is_shared(tokens[0]), other.shared.is_shared(tokens[1])] == [False, True]
    assert (await (await harness.proxy()).token()).text == tokens[1].text


@pytest.mark.parametrize("is_replicated", [True, False])
async def test_failover_during_a_lease(
    harness: FleetHarness, tmp_path: Path, *, is_replicated: bool
) -> None:
    """Its owner writes if the new primary knows the lease; else another proxy has fetched too."""
    async with redis_server(tmp_path / "replica") as replica, TcpRelay(harness.server.port) as way:
        owner_of_lease, other = [
            await harness.proxy(url=f"redis://127.0.0.1:{way.port}") for _ in range(2)
        ]
        if is_replicated:
            await replica.do("REPLICAOF", "127.0.0.1", str(harness.server.port))
        harness.source.may_answer.clear()
        fetching = asyncio.ensure_future(owner_of_lease.token())
        await until(lambda: harness.source.requested_keys)
        while is_replicated and not await replica.records():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        await harness.server.kill()
        await replica.do("REPLICAOF", "NO", "ONE")
        way.switch_to(replica.port)
        await until_stored(other)
        waiting = asyncio.ensure_future(other.token())
        if not is_replicated:
            await until(lambda: len(harness.source.requested_keys) == 2)
        await asyncio.sleep(POLICY.lease)
        harness.source.may_answer.set()
        tokens = await asyncio.gather(fetching, waiting)
    assert [token.is_from_store for token in tokens] == [False, is_replicated]
    late = AcquisitionSource.FETCHED if is_replicated else AcquisitionSource.UNCACHED
    assert owner_of_lease.sources == [late]
    assert len(harness.source.requested_keys) == 1 + (not is_replicated)


async def until_stored(proxy: SimulatedProxy) -> None:
    """Wait until a proxy can use the store."""
    await proxy.shared.poll(OTHER)
    async with asyncio.timeout(DEADLINE):
        while not any(
            isinstance(event, StoreOperation) and not event.failure for event in proxy.events
        ):
            await asyncio.sleep(0.02)
            await proxy.shared.poll(OTHER)


async def test_split_store_heals(harness: FleetHarness, tmp_path: Path) -> None:
    """Each side has its own token; afterwards both use one."""
    async with redis_server(tmp_path / "other") as other, TcpRelay(other.port) as way:
        near = [await harness.proxy() for _ in range(2)]
        far = [await harness.proxy(url=f"redis://127.0.0.1:{way.port}") for _ in range(2)]
        tokens = [await proxy.token() for proxy in (*near, *far)]
        assert [token.text for token in tokens] == ["token-1", "token-1", "token-2", "token-2"]
        way.switch_to(harness.server.port)
        far[0].reject()
        while (token := await far[0].token()).text != "token-1":  # a reset connection costs a call
            far[0].reject()
        assert token.is_from_store
        calls = len(harness.source.requested_keys)
        assert (await near[1].token(OTHER)).text == (await far[0].token(OTHER)).text
        assert len(harness.source.requested_keys) == calls + 1


async def test_fleet_with_two_keys(harness: FleetHarness) -> None:
    """Each half has its own token, and both report it."""
    first, second = await harness.proxy(key_line("k1")), await harness.proxy(key_line("k2", "fern"))
    texts = {(await first.token()).text, (await second.token()).text}
    assert len(texts) == 2
    await first.shared.poll(KEY)
    assert (first.shared.undecryptable_count, second.shared.undecryptable_count) == (1, 1)
    third = await harness.proxy(key_line("k2", "fern"), key_line("k1"))
    assert (await third.token()).text in texts
    assert third.shared.undecryptable_count == 0


async def test_tokens_of_users_are_not_shared(harness: FleetHarness) -> None:
    """They are neither looked up nor rejected in the store."""
    proxy = await harness.proxy(user=True)
    token = await proxy.token()
    assert not proxy.shared.is_shared(token)
    assert await proxy.shared.poll(KEY) == StoreUpdate()
    proxy.reject()
    assert await harness.server.records() == []
    assert proxy.events == []


async def test_lease_of_a_cancelled_request_expires(harness: FleetHarness) -> None:
    """Nobody renews it."""
    first, second = await harness.proxy(), await harness.proxy()
    harness.source.may_answer.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: harness.source.requested_keys)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    harness.source.may_answer.set()
    assert (await second.token()).text == "token-2"


async def test_token_about_to_expire_is_no_failure_of_the_fleet(harness: FleetHarness) -> None:
    """Each proxy may ask again at once."""
    first, second = await harness.proxy(), await harness.proxy()
    harness.source.fail(TokenExpiringError(0.5))
    for proxy in (first, second, first):
        with pytest.raises(TokenExpiringError):
            await proxy.token()
    harness.source.errors.clear()
    assert (await second.token()).text == "token-4"
    assert (await first.token()).text == "token-4"
