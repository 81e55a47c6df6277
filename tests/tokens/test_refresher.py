"""The refresher: ahead of expiry, with back-off; simulated, then over real sockets."""

import asyncio
import contextlib
from collections import Counter
from itertools import pairwise

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenFailure, kinds
from proxy.sandbox import Fault, Sandbox, Settings
from proxy.tokens.events import TokenRefreshFailed, TokenReleased
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.refresher import LONGEST_SLEEP
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.program import slowed
from tests.support.running import DEADLINE, running, until, url
from tests.tokens.harness import HOUR, KEY, OTHER, SimulatedClock, TokenHarness, failure


@pytest.fixture
def simulated_clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    """The clock of all components of this test."""
    clock = SimulatedClock()
    monkeypatch.setattr("proxy.runtime.clock.now", clock)
    return clock


# On a simulated clock.


async def test_token_is_refreshed_before_it_expires() -> None:
    """There is always a live token, at one request per hour."""
    harness = TokenHarness()
    harness.cache.pin(KEY)
    _ = await harness.step()
    for _ in range(24 * 12):
        await harness.advance(300)
        assert harness.cache.current(KEY) is not None
    assert len(harness.requested_keys) == 27  # a day in spans of 55 minutes, and the first


@given(st.floats(1, 30), st.floats(0, 1, exclude_max=True))
def test_short_lifetime_is_no_tight_loop(lifetime: float, chance: float) -> None:
    """At most two refreshes per lifetime."""

    async def minute() -> int:
        harness = TokenHarness(chance=chance)
        harness.source.lifetime = lifetime
        harness.cache.pin(KEY)
        await harness.advance(60)
        return len(harness.requested_keys)

    assert 60 / lifetime <= asyncio.run(minute()) <= 2 * 60 / lifetime + 1


async def test_outage_does_not_affect_traffic() -> None:
    """The old token is served until there is a new one."""
    harness = TokenHarness(chance=0.5)
    harness.cache.pin(KEY)
    _ = await harness.step()
    old = harness.cache.current(KEY)
    await harness.advance(3200)
    harness.source.fail(failure())
    await harness.advance(380)
    assert harness.cache.current(KEY) is old
    harness.source.errors.clear()
    await harness.advance(60)
    new = harness.cache.current(KEY)
    assert new is not old
    assert new is not None


async def test_recovery_after_a_long_outage() -> None:
    """Within one back-off step."""
    harness = TokenHarness(chance=0.99)
    harness.cache.pin(KEY)
    _ = await harness.step()
    harness.source.fail(failure())
    await harness.advance(5 * HOUR)
    assert harness.cache.current(KEY) is None
    harness.source.errors.clear()
    await harness.advance(60)
    assert harness.cache.current(KEY) is not None


async def test_outage_costs_few_requests() -> None:
    """Sixty an hour, not thousands."""
    harness = TokenHarness(chance=0.99)
    harness.source.fail(failure())
    harness.cache.pin(KEY)
    await harness.advance(HOUR)
    assert 60 <= len(harness.requested_keys) <= 75


async def test_throttled_key_is_refreshed_rarely() -> None:
    """Every five minutes."""
    harness = TokenHarness(chance=0.99)
    harness.source.fail(failure(kinds.TOKEN_THROTTLED))
    harness.cache.pin(KEY)
    await harness.advance(HOUR)
    assert len(harness.requested_keys) <= 20


async def test_retry_after_is_honoured() -> None:
    """No request is earlier."""
    harness = TokenHarness()
    harness.source.fail(failure(retry_after=120))
    harness.cache.pin(KEY)
    await harness.advance(119)
    assert len(harness.requested_keys) == 1
    await harness.advance(2)
    assert len(harness.requested_keys) == 2


@pytest.mark.parametrize("reason", [kind for kind in kinds.TOKEN_FAILURES if kind.is_refusal])
async def test_refused_credentials_are_tried_once_a_minute(reason: TokenFailure) -> None:
    """Until they change; sooner at a start, except with a user who may be locked out."""
    harness = TokenHarness()
    harness.source.fail(failure(reason))
    harness.cache.pin(KEY)
    await harness.advance(590)
    assert len(harness.requested_keys) == (10 if reason is kinds.TOKEN_BAD_USER else 12)
    harness.source.errors.clear()
    harness.cache.clear_failures({KEY})
    assert await harness.step() > 0
    assert harness.cache.current(KEY) is not None


async def test_internal_error_does_not_stop_refreshing() -> None:
    """The next refresh succeeds."""
    harness = TokenHarness()
    harness.source.fail(ZeroDivisionError())
    harness.cache.pin(KEY)
    _ = await harness.step()
    harness.source.errors.clear()
    await harness.advance(5)
    assert harness.cache.current(KEY) is not None


async def test_failing_institution_does_not_delay_another() -> None:
    """Its refresh is at its usual time."""
    harness = TokenHarness(chance=0.9)
    for key in (KEY, OTHER):
        harness.cache.pin(key)
    harness.source.fail(failure(), OTHER)
    await harness.advance(2 * HOUR)
    asked = Counter(harness.requested_keys)
    assert asked[KEY] == 3
    assert asked[OTHER] > 10
    assert {event.key for event in harness.events if isinstance(event, TokenRefreshFailed)} == {
        OTHER
    }


async def test_unused_token_is_released() -> None:
    """After an hour without a request; it returns on demand."""
    harness = TokenHarness(idle=HOUR)
    _ = await harness.cache.token(KEY)
    await harness.advance(3 * HOUR)
    assert not harness.knows(KEY)
    assert TokenReleased(KEY) in harness.events
    assert harness.requested_keys == [KEY, KEY]
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())


async def test_used_token_is_kept() -> None:
    """It is refreshed in the background."""
    harness = TokenHarness(idle=HOUR)
    _ = await harness.cache.token(KEY)
    for _ in range(10):
        await harness.advance(HOUR / 2)
        assert harness.cache.current(KEY) is not None
    assert not [event for event in harness.events if isinstance(event, TokenReleased)]


async def test_pinned_token_is_kept_unused() -> None:
    """The default institution always has a token."""
    harness = TokenHarness(idle=60)
    harness.cache.pin(KEY)
    await harness.advance(10 * HOUR)
    assert harness.cache.current(KEY) is not None


async def test_unused_failing_key_is_released() -> None:
    """It is not retried for ever."""
    harness = TokenHarness(idle=HOUR)
    harness.source.fail(failure(kinds.TOKEN_BAD_INSTITUTION))
    with contextlib.suppress(Exception):
        _ = await harness.cache.token(KEY)
    await harness.advance(2 * HOUR)
    assert not harness.knows(KEY)


@pytest.mark.parametrize("step", [-HOUR, HOUR, -HOUR * 24 * 365, HOUR * 24 * 365])
async def test_stepped_clock_is_no_storm(step: float) -> None:
    """Each key is refreshed at most once more."""
    harness = TokenHarness()
    for key in (KEY, OTHER):
        harness.cache.pin(key)
    _ = await harness.step()
    harness.clock.set_wall(step)
    await harness.advance(600)
    assert set(Counter(harness.requested_keys).values()) == {1 if step < 0 else 2}
    assert all(harness.cache.current(key) for key in (KEY, OTHER))


async def test_wake_up_serves_no_expired_token() -> None:
    """Each key is fetched once."""
    harness = TokenHarness()
    keys = [TokenKey(TokenKind.V2, f"1{number:04}") for number in range(50)]
    for key in keys:
        harness.cache.pin(key)
    await harness.advance(10)
    harness.clock.set_wall(8 * HOUR)
    assert [harness.cache.current(key) for key in keys] == [None] * 50
    await harness.advance(60)
    assert all(harness.cache.current(key) for key in keys)
    assert len(harness.requested_keys) == 100


async def thousand(harness: TokenHarness) -> list[TokenKey]:
    """Fill the cache with a thousand institutions."""
    keys = [TokenKey(TokenKind.V2, f"{number:05}") for number in range(1000)]
    for key in keys:
        _ = await harness.cache.token(key)
        harness.clock.advance(0.001)
    return keys


async def test_wake_up_of_a_thousand_keys_is_no_storm() -> None:
    """At the rate limit, last used first, each once."""
    harness = TokenHarness(idle=24 * HOUR)
    keys = await thousand(harness)
    harness.clock.set_wall(8 * HOUR)
    begun = []
    for _ in range(60):
        before = len(harness.requested_keys)
        await harness.advance(1)
        begun.append(len(harness.requested_keys) - before)
    assert max(begun) <= 24
    assert begun[5:40] == [20] * 35
    assert len(harness.requested_keys) == 2000
    assert harness.requested_keys[1000:1010] == keys[:-11:-1]
    assert all(harness.cache.current(key) for key in keys)


async def test_request_bypasses_the_rate_limit() -> None:
    """However many keys are queued."""
    harness = TokenHarness(idle=24 * HOUR)
    keys = await thousand(harness)
    harness.clock.set_wall(8 * HOUR)
    harness.refresher.step()
    first = keys[0]
    assert (await harness.cache.token(first)).is_alive(harness.clock())


async def test_concurrent_calls_are_bounded() -> None:
    """A hanging bank blocks few; failing keys are last."""
    harness = TokenHarness(idle=24 * HOUR, policy=RefreshPolicy(max_refreshes=3))
    bad = [TokenKey(TokenKind.V2, f"9{number:04}") for number in range(5)]
    for key in bad:
        harness.source.fail(failure(), key)
        harness.cache.pin(key)
    await harness.advance(HOUR)
    good = [TokenKey(TokenKind.V2, f"1{number:04}") for number in range(5)]
    for key in good:
        harness.cache.pin(key)
    harness.clock.advance(120)  # the back-off of the failing keys has ended too
    harness.source.may_answer.clear()
    assert harness.refresher.step() == float("inf")
    under_way = [entry.key for entry in harness.cache.entries() if entry.fetch is not None]
    assert under_way == good[:3]
    harness.source.may_answer.set()


async def test_start_is_spread_unless_a_request_needs_the_token() -> None:
    """The first fetch is delayed, a request is not."""
    harness = TokenHarness(chance=0.5, policy=RefreshPolicy(start_spread=60))
    harness.cache.pin(KEY)
    harness.cache.pin(OTHER)
    await harness.advance(29)
    assert harness.requested_keys == []
    _ = await harness.cache.token(OTHER)
    assert harness.requested_keys == [OTHER]
    await harness.advance(2)
    assert harness.requested_keys == [OTHER, KEY]
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())


async def test_single_proxy_starts_at_once() -> None:
    """Without a spread."""
    harness = TokenHarness(chance=0.99)
    harness.cache.pin(KEY)
    _ = await harness.step()
    assert harness.requested_keys == [KEY]


@pytest.mark.parametrize("lifetimes", [(3600, 30, 3600, 5), (1, 3600, 2, 86_400), (60, 20, 10, 8)])
async def test_each_token_has_its_own_lifetime(lifetimes: tuple[float, ...]) -> None:
    """It is renewed in the second half of it, and never sent after its end."""
    harness = TokenHarness(chance=0.5)
    harness.cache.pin(KEY)
    for number, lifetime in enumerate(lifetimes, 1):
        harness.source.lifetime = lifetime
        while len(harness.requested_keys) < number:
            harness.clock.advance(min(max(harness.refresher.step(), 0.05), HOUR))
            await harness.settle()
            assert harness.cache.current(KEY) is not None
        token = harness.cache.current(KEY)
        assert token is not None
        assert token.lifetime == lifetime
        assert lifetime / 2 - 1 <= harness.entry().until_due(harness.clock()) < lifetime


async def test_refused_token_is_replaced_in_the_background() -> None:
    """Without a further request."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.advance(60)
    harness.cache.reject(token)
    _ = await harness.step()
    assert harness.cache.current(KEY) not in (None, token)


async def test_key_with_a_running_fetch_is_not_released() -> None:
    """Even if it is unused."""
    harness = TokenHarness(idle=60)
    harness.source.may_answer.clear()
    waiter = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    harness.clock.advance(HOUR)
    harness.refresher.step()
    assert harness.knows(KEY)
    harness.source.may_answer.set()
    harness.source.lifetime = 2 * HOUR
    assert await waiter is harness.cache.current(KEY)


async def test_next_step_is_when_something_is_due() -> None:
    """The earliest due time is returned."""
    harness = TokenHarness()
    _ = await harness.cache.token(KEY)
    assert harness.refresher.step() == pytest.approx(3300)
    harness.source.lifetime = 60
    _ = await harness.cache.token(OTHER)
    assert harness.refresher.step() == pytest.approx(36)
    harness.clock.advance(30)
    assert harness.refresher.step() == pytest.approx(6)
    harness.source.fail(failure(retry_after=20), OTHER)
    harness.clock.advance(6)
    assert await harness.step() == pytest.approx(20)


async def test_without_keys_nothing_is_due() -> None:
    """The wait is infinite."""
    assert TokenHarness().refresher.step() == float("inf")


# The loop itself, on the real clock.


async def test_loop_wakes_for_a_new_key() -> None:
    """At once."""
    harness = TokenHarness()
    loop = asyncio.create_task(harness.refresher.run())
    await asyncio.sleep(0)
    harness.cache.pin(KEY)
    await until(lambda: harness.cache.current(KEY))
    loop.cancel()
    assert isinstance((await asyncio.gather(loop, return_exceptions=True))[0], BaseException)


async def test_loop_checks_without_being_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """After sleep, when the loop's clock stood still."""
    assert LONGEST_SLEEP <= 60
    monkeypatch.setattr("proxy.tokens.refresher.LONGEST_SLEEP", 0.05)
    harness = TokenHarness()
    harness.cache.pin(KEY)
    loop = asyncio.create_task(harness.refresher.run())
    await until(lambda: harness.cache.current(KEY))
    harness.clock.set_wall(8 * HOUR)
    await until(lambda: harness.cache.current(KEY))
    assert len(harness.requested_keys) == 2
    loop.cancel()


# With the sandbox bank.


async def test_short_lived_tokens_under_traffic() -> None:
    """No request fails over several lifetimes of a second."""
    lifetime = round(slowed(1, DEADLINE / 8))  # the bank names whole seconds
    async with (
        Sandbox(Settings(lifetime=lifetime)) as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
    ):
        statuses: Counter[int] = Counter()
        while len(bank.bank.token_requests) < 5:
            async with caller.get("/echo") as response:
                statuses[response.status] += 1
        times = [request.time for request in bank.bank.token_requests]
        assert statuses.keys() == {200}
        assert all(later - earlier >= 0.45 * lifetime for earlier, later in pairwise(times))


async def test_outage_of_the_token_endpoint_does_not_affect_traffic(
    simulated_clock: SimulatedClock,
) -> None:
    """The old token is served, then a new one."""
    async with (
        Sandbox(Settings(lifetime=HOUR), clock=lambda: simulated_clock.wall) as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
    ):
        (entry,) = app.tokens.entries()
        bank.bank.faults.append(Fault("token", status=503))
        simulated_clock.advance(3310)
        for failures in (1, 2, 3):
            app.tokens.on_change()
            await until(lambda: entry.failures == failures)  # noqa: B023 - awaited here
            async with caller.get("/echo") as response:
                assert response.status == 200
            simulated_clock.advance(60)
        bank.bank.faults.clear()
        app.tokens.on_change()
        await until(lambda: entry.failures == 0)
        assert [request.outcome for request in bank.bank.token_requests].count("ok") == 2


async def test_outage_beyond_expiry_is_a_503_and_ends(simulated_clock: SimulatedClock) -> None:
    """No expired token reaches the bank."""
    async with (
        Sandbox(Settings(lifetime=HOUR), clock=lambda: simulated_clock.wall) as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
    ):
        bank.bank.faults.append(Fault("token", status=503))
        simulated_clock.advance(HOUR)
        async with caller.get("/echo") as response:
            assert (response.status, response.headers["x-proxy-error-source"]) == (503, "token")
        assert not app.readiness().is_ready
        assert not bank.bank.arrivals
        bank.bank.faults.clear()
        simulated_clock.advance(60)
        app.tokens.on_change()
        await until(lambda: app.readiness().is_ready)
        async with caller.get("/echo") as response:
            assert response.status == 200


async def test_proxy_becomes_ready_after_its_bank() -> None:
    """If the bank is down at the start."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", status=500, times=2))
        async with running(bank, token={"backoff_initial": "0.1"}):
            outcomes = [request.outcome for request in bank.bank.token_requests]
            assert outcomes[2:] == ["ok"]
