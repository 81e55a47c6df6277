"""The follower: newer tokens of others are taken over, and rejected ones dropped."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from proxy.tasks import Tasks
from proxy.tokens.cache import TokenCache
from proxy.tokens.events import TokenRefreshed, Trigger
from proxy.tokens.fleet.follower import Follower
from proxy.tokens.fleet.lease_policy import LeasePolicy
from proxy.tokens.fleet.source import SharedTokenSource
from proxy.tokens.held import Reaction
from proxy.tokens.refresh_policy import RefreshPolicy
from tests.support.running import DEADLINE, until
from tests.tokens.fleet.test_source import FleetHarness, fleet_harness
from tests.tokens.harness import KEY, TokenHarness, failure

QUICK = LeasePolicy(poll_every=0.05)


class Member:
    """A cache with a shared token source and its follower, as in a core."""

    def __init__(
        self, here: FleetHarness, shared: SharedTokenSource, policy: RefreshPolicy
    ) -> None:
        self.bench = TokenHarness(policy=policy)
        self.cache = TokenCache(
            shared, policy, clock=here.clock, chance=lambda: 0.5, emit=self.bench.events.append
        )
        shared.cached_token, self.cache.on_rejected = self.cache.peek, shared.reject
        self.follower = Follower(self.cache, shared, QUICK, chance=lambda: 0.5)

    @property
    def text(self) -> str:
        """The text of its token."""
        held = self.cache.peek(KEY)
        return "" if held is None else held.text

    def triggers(self) -> Iterator[Trigger]:
        """Why each of its tokens was fetched."""
        return (one.trigger for one in self.bench.events if isinstance(one, TokenRefreshed))


async def two(here: FleetHarness) -> tuple[Member, Member]:
    """Return two members of a fleet."""
    policy = RefreshPolicy(min_interval=1.0)
    first = Member(here, (await here.proxy()).shared, policy)
    return first, Member(here, (await here.proxy()).shared, policy)


async def test_newer_token_is_taken_over(tmp_path: Path) -> None:
    """Its refresh time follows from its own lifetime."""
    async with fleet_harness(tmp_path) as here:
        first, second = await two(here)
        await first.cache.token(KEY)
        await second.cache.token(KEY)
        here.clock.advance(3300)
        first.cache.start_refresh(next(first.cache.entries()))
        await until(lambda: first.text == "token-2")
        await second.follower.poll(KEY)
        assert second.text == "token-2"
        assert list(second.triggers()) == [Trigger.SHARED, Trigger.SHARED]
        assert list(first.triggers()) == [Trigger.FIRST, Trigger.DUE]
        assert next(second.cache.entries()).until_due(here.clock()) > 3000


async def test_token_rejected_by_another_is_dropped(tmp_path: Path) -> None:
    """No request has to meet the refusal first."""
    async with fleet_harness(tmp_path) as here:
        first, second = await two(here)
        token = await first.cache.token(KEY)
        await second.cache.token(KEY)
        assert first.cache.reject(token) is Reaction.DROPPED
        async with asyncio.timeout(DEADLINE):
            while second.text:
                await second.follower.poll(KEY)
        assert (await second.cache.token(KEY)).text == "token-2"
        assert len(here.source.requested_keys) == 2


async def test_rejections_of_others_are_limited_in_rate(tmp_path: Path) -> None:
    """As this proxy's own are: the first is honoured at once."""
    async with fleet_harness(tmp_path) as here:
        first, second = await two(here)
        held = await second.cache.token(KEY)
        second.cache.drop_rejected(held)
        assert second.text == ""
        second.cache.drop_rejected(held)
        await first.cache.token(KEY)
        next_held = await second.cache.token(KEY)
        second.cache.drop_rejected(next_held)
        assert second.text == next_held.text
        here.clock.advance(1)
        second.cache.drop_rejected(next_held)
        assert second.text == ""


async def test_taken_token_ends_a_back_off(tmp_path: Path) -> None:
    """A proxy whose request was refused uses the token of another."""
    async with fleet_harness(tmp_path) as here:
        first, second = await two(here)
        here.source.fail(failure())
        tasks = Tasks("test")
        second.cache.pin(KEY)
        second.cache.start_refresh(next(second.cache.entries()))
        await until(lambda: next(second.cache.entries()).error)
        here.source.errors.clear()
        tasks.spawn_background("follower", second.follower.run())
        async with asyncio.timeout(DEADLINE):
            while not first.text:
                await asyncio.sleep(0.05)
                here.clock.advance(1)
                await asyncio.gather(first.cache.token(KEY), return_exceptions=True)
        await until(lambda: second.text == first.text)
        assert next(second.cache.entries()).error is None
        await tasks.cancel()


async def test_follower_waits_without_keys(tmp_path: Path) -> None:
    """It starts when there is a key."""
    async with fleet_harness(tmp_path) as here:
        first, second = await two(here)
        tasks = Tasks("test")
        tasks.spawn_background("follower", second.follower.run())
        await asyncio.sleep(0.1)
        await first.cache.token(KEY)
        second.cache.pin(KEY)
        await until(lambda: second.text == "token-1")
        await tasks.cancel()


async def test_newer_token_is_not_overwritten(tmp_path: Path) -> None:
    """A token that arrives during the look-up is kept."""
    async with fleet_harness(tmp_path) as here:
        first, second = await two(here)
        await first.cache.token(KEY)
        looking = asyncio.ensure_future(second.follower.poll(KEY))
        await asyncio.sleep(0)
        token = await here.source.token(KEY)
        second.cache.install(token)
        await looking
        assert second.cache.peek(KEY) is token
