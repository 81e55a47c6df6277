"""Several proxies' token sources before one real store: who asks, who takes, who goes alone."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.errors import TokenError, TokenFailure
from proxy.tokens.fleet.encryption import EntryCipher, RecordName, read_keys, record_name
from proxy.tokens.fleet.events import AcquisitionSource, StoreEvent, TokenAcquired
from proxy.tokens.fleet.lease_policy import LeasePolicy
from proxy.tokens.fleet.source import SharedTokenSource, StoreUpdate
from proxy.tokens.token import RefreshPolicy, Token, TokenKey
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import until
from tests.support.tcp_relay import Relay
from tests.tokens.fleet.encryption_keys import key_line
from tests.tokens.fleet.store_harness import store
from tests.tokens.fleet.test_encryption import BASE, LOGIN
from tests.tokens.harness import HOUR, KEY, OTHER, Clock, Teller, failure

POLICY = LeasePolicy(
    lease=0.5,
    pause=0.05,
    max_wait=1.0,
    spread=0.2,
    spread_without_token=0.1,
    longest_poll_with_token=0.1,
)
REFRESH = RefreshPolicy(backoff_initial=0.2, refusal_memory=0.3, throttle_initial=0.4)


@dataclass
class Proxy:
    """What of one proxy matters here. ``hand`` is what its cache would hold."""

    shared: SharedTokenSource
    told: list[StoreEvent]
    hand: dict[TokenKey, Token] = field(default_factory=dict)

    async def token(self, key: TokenKey = KEY) -> Token:
        """Get a token and hold it."""
        token = self.hand[key] = await self.shared.token(key)
        return token

    def reject(self, key: TokenKey = KEY) -> None:
        """Drop the token in hand, as the cache does when the bank refuses it."""
        self.shared.reject(self.hand.pop(key))

    @property
    def origins(self) -> list[AcquisitionSource]:
        """Return how its wishes ended."""
        return [fact.source for fact in self.told if isinstance(fact, TokenAcquired)]


@dataclass
class Street:
    """Proxies on one clock, with one bank and one store."""

    server: RedisServer
    clock: Clock
    teller: Teller
    stack: AsyncExitStack

    async def proxy(self, *lines: str, user: bool = False, url: str = "") -> Proxy:
        """Open another; ``lines`` are its encryption keys, ``user`` makes its tokens a user's.

        ``url`` is where it finds the store.
        """
        made, told = await self.stack.enter_async_context(store(url or self.server.url))
        names: dict[TokenKey, RecordName] = {
            key: record_name(BASE, key, LOGIN) for key in (KEY, OTHER)
        }
        shared = SharedTokenSource(
            self.teller,
            made,
            EntryCipher(read_keys(lines or [key_line()]), os.urandom),
            name_for=lambda key: None if user else names[key],
            policy=POLICY,
            refresh=REFRESH,
            clock=self.clock,
            chance=random.random,
            emit=told.facts.append,
        )
        self.stack.push_async_callback(shared.close)
        proxy = Proxy(shared, told.facts)
        shared.cached_token = lambda key: proxy.hand.get(key)  # noqa: PLW0108 - tests put others there
        return proxy


@asynccontextmanager
async def street(folder: Path) -> AsyncIterator[Street]:
    """Start a server; the clock is right at first, and stands."""
    async with redis_server(folder / "redis") as server, AsyncExitStack() as stack:
        seconds, micro = await server.do("TIME")
        clock = Clock(wall=int(seconds) + int(micro) / 1e6)
        yield Street(server, clock, Teller(clock), stack)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Street]:
    """Return a street."""
    async with street(tmp_path) as built:
        yield built


async def test_one_asks_for_all(here: Street) -> None:
    """However many want a token at once, the bank is asked once, and all have the same."""
    proxies = [await here.proxy() for _ in range(12)]
    here.teller.open.clear()
    wishes = asyncio.gather(*(proxy.token() for proxy in proxies))
    await until(lambda: here.teller.asked)
    here.teller.open.set()
    tokens = await wishes
    assert {token.text for token in tokens} == {"token-1"}
    assert sum(token.is_from_store for token in tokens) == 11
    origins = [origin for proxy in proxies for origin in proxy.origins]
    assert sorted(origins) == [AcquisitionSource.FETCHED] + [AcquisitionSource.SHARED] * 11


async def test_keys_do_not_wait_for_each_other(here: Street) -> None:
    """A lease is for one key."""
    first, second = await here.proxy(), await here.proxy()
    here.teller.open.clear()
    wishes = asyncio.gather(first.token(KEY), second.token(OTHER))
    await until(lambda: len(here.teller.asked) == 2)
    here.teller.open.set()
    await wishes
    assert len(await here.server.records()) == 2


async def test_a_newer_token_is_taken_before_the_old_one_ends(here: Street) -> None:
    """Whose token is due looks first; only the first of all asks."""
    first, second = await here.proxy(), await here.proxy()
    await first.token()
    await second.token()
    here.clock.turn(3300)
    assert (await first.token()).text == "token-2"
    assert (await second.token()).text == "token-2"
    assert len(here.teller.asked) == 2


async def test_a_taken_token_is_as_old_as_it_is(here: Street) -> None:
    """Its life is not counted from when it was taken."""
    first, second = await here.proxy(), await here.proxy()
    await first.token()
    here.clock.turn(1000)
    token = await second.token()
    assert token.is_from_store
    assert token.remaining(here.clock()) == pytest.approx(HOUR - 1000, abs=60)


async def test_an_expired_token_is_never_taken(here: Street) -> None:
    """Dead by the reader's clock is dead."""
    first, second = await here.proxy(), await here.proxy()
    await first.token()
    here.clock.turn(HOUR)
    assert (await second.token()).text == "token-2"


async def test_a_clock_that_is_behind_makes_nothing_younger(here: Street) -> None:
    """The store's clock is believed where the reader's says less."""
    here.teller.lifetime = 0.3
    first, second = await here.proxy(), await here.proxy()
    await first.token()
    here.clock.set_wall(-3600)
    await asyncio.sleep(0.35)  # by the store's clock, which nobody sets
    assert (await second.token()).text == "token-2"


async def test_a_rejected_token_is_rejected_for_all_once(here: Street) -> None:
    """Nobody takes it any more, everybody hears of it, and one asks for another."""
    proxies = [await here.proxy() for _ in range(5)]
    for proxy in proxies:
        await proxy.token()
    proxies[0].reject()
    await until_rejected(proxies[1])
    newcomer = await here.proxy()
    tokens = await asyncio.gather(newcomer.token(), proxies[0].token())
    for proxy in proxies[1:]:
        proxy.reject()
        await proxy.token()
    assert {token.text for token in tokens} == {"token-2"}
    assert len(here.teller.asked) == 2


async def until_rejected(proxy: Proxy) -> None:
    """Wait until a proxy has heard that its token is rejected."""
    async with asyncio.timeout(10):
        while not (await proxy.shared.poll(KEY)).is_rejected:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)


async def test_one_who_holds_a_token_in_vain_is_in_no_hurry_until_it_is_rejected(
    here: Street,
) -> None:
    """It waits for another's call; when its own token is refused meanwhile, it looks at once."""
    first, second = await here.proxy(), await here.proxy()
    await first.token()
    await second.token()
    here.clock.turn(3300)
    here.teller.open.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: len(here.teller.asked) == 2)
    waiting = asyncio.ensure_future(second.token())
    await asyncio.sleep(0.05)
    second.reject()
    here.teller.open.set()
    assert (await fetching).text == (await waiting).text == "token-2"


async def test_who_follows_sees_the_newer_token(here: Street) -> None:
    """One that is no better than that in hand is no news."""
    first, second = await here.proxy(), await here.proxy()
    await first.token()
    news = await second.shared.poll(KEY)
    assert (news.is_rejected, getattr(news.newer_token, "text", "")) == (False, "token-1")
    await second.token()
    assert await second.shared.poll(KEY) == StoreUpdate()


async def test_a_token_that_came_by_another_way_ends_the_wish(here: Street) -> None:
    """Who follows may be quicker than who waits."""
    first, second = await here.proxy(), await here.proxy()
    await first.token()
    await second.token()
    here.clock.turn(3300)
    here.teller.open.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: len(here.teller.asked) == 2)
    waiting = asyncio.ensure_future(second.token())
    await asyncio.sleep(0.05)
    here.teller.open.set()
    second.hand[KEY] = await fetching
    assert (await waiting).text == "token-2"
    assert len(here.teller.asked) == 2


async def test_a_slow_bank_keeps_everybody_patient(here: Street) -> None:
    """The lease is renewed for as long as the call takes."""
    first, second = await here.proxy(), await here.proxy()
    here.teller.open.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: here.teller.asked)
    waiting = asyncio.ensure_future(second.token())
    await asyncio.sleep(POLICY.lease * 2)
    here.teller.open.set()
    assert (await fetching).text == (await waiting).text == "token-1"


async def test_what_the_bank_said_to_one_binds_all(here: Street) -> None:
    """Quota, spike, refusals: the others fail alike without asking, until one may again."""
    proxies = [await here.proxy() for _ in range(5)]
    here.teller.fail(TokenError(TokenFailure.THROTTLED, "Too much.", code="CMN_90002"))
    for proxy in proxies:
        with pytest.raises(TokenError) as caught:
            await proxy.token()
        assert (caught.value.reason, caught.value.code) == (TokenFailure.THROTTLED, "CMN_90002")
        if proxy is not proxies[0]:
            assert 0 < (caught.value.retry_after or 0) <= REFRESH.throttle_initial
    assert len(here.teller.asked) == 1
    assert [proxy.origins[-1] for proxy in proxies] == [
        AcquisitionSource.FAILED,
        *[AcquisitionSource.REFUSED] * 4,
    ]
    here.teller.errors.clear()
    async with asyncio.timeout(10):
        while len(here.teller.asked) < 2:
            try:
                await proxies[3].token()
            except TokenError:
                await asyncio.sleep(0.02)
    assert (await proxies[4].token()).text == "token-2"


async def test_failures_in_a_row_are_waited_out_for_longer(here: Street) -> None:
    """Whoever's they are: the fleet backs off as one proxy would."""
    here.teller.fail(TokenError(TokenFailure.THROTTLED, "Too much."))
    waits = []
    for _ in range(3):
        proxy = await here.proxy()
        with pytest.raises(TokenError):
            await proxy.token()
        with pytest.raises(TokenError) as caught:
            await proxy.token()
        waits.append(caught.value.retry_after or 0.0)
        await asyncio.sleep(waits[-1] + 0.02)
    assert waits[0] < 0.4 < waits[2]
    assert len(here.teller.asked) == 3


async def test_trouble_on_the_way_binds_nobody(here: Street) -> None:
    """One machine without a network does not stop the others."""
    first, second = await here.proxy(), await here.proxy()
    here.teller.fail(failure(TokenFailure.UNREACHABLE))
    with pytest.raises(TokenError):
        await first.token()
    here.teller.errors.clear()
    assert (await second.token()).text == "token-2"


async def test_who_has_waited_long_enough_goes_alone(here: Street) -> None:
    """A lease that never ends does not keep anybody without a token."""
    proxy = await here.proxy()
    name = record_name(BASE, KEY, LOGIN).text
    made, _ = await here.stack.enter_async_context(store(here.server.url))
    record = "moss:{" + name + "}"
    await made.lease(name, 50, ())
    waiting = asyncio.ensure_future(proxy.token())
    await asyncio.sleep(0.1)
    here.clock.turn(POLICY.max_wait + POLICY.spread_without_token)
    token = await waiting
    assert proxy.origins == [AcquisitionSource.DIRECT]
    assert not proxy.shared.is_shared(token)
    assert await here.server.do("HLEN", record) == 2


async def test_without_the_store_each_has_its_own(here: Street) -> None:
    """Nobody waits longer than the spread; what was got alone is not shared, nor rejected there."""
    proxies = [await here.proxy() for _ in range(3)]
    await here.server.kill()
    wishes = [asyncio.ensure_future(proxy.token()) for proxy in proxies]
    await asyncio.sleep(0.05)
    here.clock.turn(POLICY.spread_without_token)
    tokens = await asyncio.gather(*wishes)
    assert len({token.text for token in tokens}) == 3
    assert [proxy.origins for proxy in proxies] == [[AcquisitionSource.DIRECT]] * 3
    await here.server.start_again()
    proxies[0].reject()
    proxies[1].reject()
    async with asyncio.timeout(10):
        while proxies[1].origins[-1] is AcquisitionSource.DIRECT or len(proxies[1].origins) < 2:
            await proxies[1].token()
            here.clock.turn(0.05)


async def test_a_store_that_dies_during_the_call_costs_nothing(here: Street) -> None:
    """Who asked has its token all the same."""
    proxy = await here.proxy()
    here.teller.open.clear()
    fetching = asyncio.ensure_future(proxy.token())
    await until(lambda: here.teller.asked)
    await here.server.kill()
    here.teller.open.set()
    assert (await fetching).text == "token-1"
    assert proxy.origins == [AcquisitionSource.UNCACHED]


async def test_one_who_lost_the_lease_keeps_its_token_to_itself(here: Street) -> None:
    """What it got is good, but another's is in the store."""
    late, other = await here.proxy(), await here.proxy()
    here.teller.open.clear()
    fetching = asyncio.ensure_future(late.token())
    await until(lambda: here.teller.asked)
    await here.server.do("FLUSHALL")
    waiting = asyncio.ensure_future(other.token())
    await until(lambda: len(here.teller.asked) == 2)
    here.teller.open.set()
    tokens = await asyncio.gather(fetching, waiting)
    assert [token.is_from_store for token in tokens] == [False, False]
    assert late.origins == [AcquisitionSource.UNCACHED]
    assert [late.shared.is_shared(tokens[0]), other.shared.is_shared(tokens[1])] == [False, True]
    assert (await (await here.proxy()).token()).text == tokens[1].text


async def test_a_split_store_is_two_stores_until_it_is_one_again(
    here: Street, tmp_path: Path
) -> None:
    """Each side lives on a token of its own; afterwards one asks for both."""
    async with redis_server(tmp_path / "other") as other, Relay(other.port) as way:
        near = [await here.proxy() for _ in range(2)]
        far = [await here.proxy(url=f"redis://127.0.0.1:{way.port}") for _ in range(2)]
        tokens = [await proxy.token() for proxy in (*near, *far)]
        assert [token.text for token in tokens] == ["token-1", "token-1", "token-2", "token-2"]
        way.lead_to(here.server.port)
        here.clock.turn(3300)
        tokens = [await proxy.token() for proxy in (*far, *near)]
        assert {token.text for token in tokens} == {"token-3"}
        assert len(here.teller.asked) == 3


async def test_a_fleet_with_two_keys(here: Street) -> None:
    """Each half lives on a token of its own, and both say so."""
    first, second = await here.proxy(key_line("k1")), await here.proxy(key_line("k2", "fern"))
    texts = {(await first.token()).text, (await second.token()).text}
    assert len(texts) == 2
    await first.shared.poll(KEY)
    assert (first.shared.undecryptable_count, second.shared.undecryptable_count) == (1, 1)
    third = await here.proxy(key_line("k2", "fern"), key_line("k1"))
    assert (await third.token()).text in texts
    assert third.shared.undecryptable_count == 0


async def test_tokens_of_users_do_not_go_there(here: Street) -> None:
    """Nor are they rejected there, nor looked for."""
    proxy = await here.proxy(user=True)
    token = await proxy.token()
    assert not proxy.shared.is_shared(token)
    assert await proxy.shared.poll(KEY) == StoreUpdate()
    proxy.reject()
    assert await here.server.records() == []
    assert proxy.told == []


async def test_a_cancelled_wish_leaves_no_lease_behind_for_long(here: Street) -> None:
    """The lease runs out, because nobody holds it any more."""
    first, second = await here.proxy(), await here.proxy()
    here.teller.open.clear()
    fetching = asyncio.ensure_future(first.token())
    await until(lambda: here.teller.asked)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    here.teller.open.set()
    assert (await second.token()).text == "token-2"
