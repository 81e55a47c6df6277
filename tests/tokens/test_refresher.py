"""The background loop: ahead of expiry, patient in trouble, never wild; then over real sockets."""

import asyncio
import contextlib
from collections import Counter
from itertools import pairwise

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenFailure
from proxy.sandbox import Fault, Sandbox, Settings
from proxy.tokens.events import TokenRefreshFailed, TokenReleased
from proxy.tokens.refresher import LONGEST_SLEEP
from proxy.tokens.token import RefreshPolicy, TokenKey, TokenKind
from tests.support.running import running, until, url
from tests.tokens.harness import HOUR, KEY, OTHER, Bench, Clock, failure


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of everything that is built in this test, turned by hand."""
    clock = Clock()
    monkeypatch.setattr("proxy.runtime.clock.now", clock)
    return clock


# Decisions, on a clock turned by hand.


async def test_token_is_renewed_before_it_expires() -> None:
    """Whenever somebody looks in a day, there is a live token, and one request an hour for it."""
    bench = Bench()
    bench.cache.pin(KEY)
    _ = await bench.step()
    for _ in range(24 * 12):
        await bench.pass_by(300)
        assert bench.cache.current(KEY) is not None
    assert len(bench.asked) == 27  # a day in spans of 55 minutes, and the first


@given(st.floats(1, 30), st.floats(0, 1, exclude_max=True))
def test_short_life_is_no_tight_loop(lifetime: float, chance: float) -> None:
    """Tokens that live for seconds are renewed at most twice in a life, whatever chance says."""

    async def minute() -> int:
        bench = Bench(chance=chance)
        bench.teller.lifetime = lifetime
        bench.cache.pin(KEY)
        await bench.pass_by(60)
        return len(bench.asked)

    assert 60 / lifetime <= asyncio.run(minute()) <= 2 * 60 / lifetime + 1


async def test_traffic_is_served_through_an_outage() -> None:
    """Requests get the old token while the bank is down, and the new one when it is back."""
    bench = Bench(chance=0.5)
    bench.cache.pin(KEY)
    _ = await bench.step()
    old = bench.cache.current(KEY)
    await bench.pass_by(3200)
    bench.teller.fail(failure())
    await bench.pass_by(380)
    assert bench.cache.current(KEY) is old
    bench.teller.errors.clear()
    await bench.pass_by(60)
    new = bench.cache.current(KEY)
    assert new is not old
    assert new is not None


async def test_outage_longer_than_a_life_latches_nothing() -> None:
    """After hours without the bank there is a token again within one back-off step."""
    bench = Bench(chance=0.99)
    bench.cache.pin(KEY)
    _ = await bench.step()
    bench.teller.fail(failure())
    await bench.pass_by(5 * HOUR)
    assert bench.cache.current(KEY) is None
    bench.teller.errors.clear()
    await bench.pass_by(60)
    assert bench.cache.current(KEY) is not None


async def test_outage_is_no_storm() -> None:
    """An hour's outage costs some sixty requests, not thousands."""
    bench = Bench(chance=0.99)
    bench.teller.fail(failure())
    bench.cache.pin(KEY)
    await bench.pass_by(HOUR)
    assert 60 <= len(bench.asked) <= 75


async def test_refresh_leaves_a_failing_key_alone_when_throttled() -> None:
    """Quota trouble is asked about every five minutes, not every minute."""
    bench = Bench(chance=0.99)
    bench.teller.fail(failure(TokenFailure.THROTTLED))
    bench.cache.pin(KEY)
    await bench.pass_by(HOUR)
    assert len(bench.asked) <= 20


async def test_retry_after_is_honoured() -> None:
    """The bank that names a time is not asked before it."""
    bench = Bench()
    bench.teller.fail(failure(retry_after=120))
    bench.cache.pin(KEY)
    await bench.pass_by(119)
    assert len(bench.asked) == 1
    await bench.pass_by(2)
    assert len(bench.asked) == 2


@pytest.mark.parametrize("reason", [reason for reason in TokenFailure if reason.is_refusal])
async def test_refused_credentials_are_tried_once_a_minute(reason: TokenFailure) -> None:
    """A wrong secret costs the bank one request a minute, until it is forgiven."""
    bench = Bench()
    bench.teller.fail(failure(reason))
    bench.cache.pin(KEY)
    await bench.pass_by(590)
    assert len(bench.asked) == 10
    bench.teller.errors.clear()
    bench.cache.clear_failures({KEY})
    assert await bench.step() > 0
    assert bench.cache.current(KEY) is not None


async def test_bug_in_a_token_source_is_not_the_end_of_refreshing() -> None:
    """An exception of our own is one failure; the refresh after it works."""
    bench = Bench()
    bench.teller.fail(ZeroDivisionError())
    bench.cache.pin(KEY)
    _ = await bench.step()
    bench.teller.errors.clear()
    await bench.pass_by(5)
    assert bench.cache.current(KEY) is not None


async def test_trouble_of_one_institution_moves_no_other() -> None:
    """While one institution fails, another is renewed when it would have been anyway."""
    bench = Bench(chance=0.9)
    for key in (KEY, OTHER):
        bench.cache.pin(key)
    bench.teller.fail(failure(), OTHER)
    await bench.pass_by(2 * HOUR)
    asked = Counter(bench.asked)
    assert asked[KEY] == 3
    assert asked[OTHER] > 10
    assert {fact.key for fact in bench.facts if isinstance(fact, TokenRefreshFailed)} == {OTHER}


async def test_unused_token_is_released_instead_of_renewed() -> None:
    """A key that no request has asked for in an hour is let go, and comes back on demand."""
    bench = Bench(idle=HOUR)
    _ = await bench.cache.token(KEY)
    await bench.pass_by(3 * HOUR)
    assert not bench.knows(KEY)
    assert TokenReleased(KEY) in bench.facts
    assert bench.asked == [KEY, KEY]
    assert (await bench.cache.token(KEY)).is_alive(bench.clock())


async def test_used_token_is_kept() -> None:
    """A key that is asked for now and then is renewed in the background for as long."""
    bench = Bench(idle=HOUR)
    _ = await bench.cache.token(KEY)
    for _ in range(10):
        await bench.pass_by(HOUR / 2)
        assert bench.cache.current(KEY) is not None
    assert not [fact for fact in bench.facts if isinstance(fact, TokenReleased)]


async def test_pinned_token_is_kept_unused() -> None:
    """The default institution always has a token, asked for or not."""
    bench = Bench(idle=60)
    bench.cache.pin(KEY)
    await bench.pass_by(10 * HOUR)
    assert bench.cache.current(KEY) is not None


async def test_failing_key_that_nobody_uses_is_released() -> None:
    """An institution that never worked is not asked about for ever."""
    bench = Bench(idle=HOUR)
    bench.teller.fail(failure(TokenFailure.BAD_INSTITUTION))
    with contextlib.suppress(Exception):
        _ = await bench.cache.token(KEY)
    await bench.pass_by(2 * HOUR)
    assert not bench.knows(KEY)


@pytest.mark.parametrize("step", [-HOUR, HOUR, -HOUR * 24 * 365, HOUR * 24 * 365])
async def test_stepped_clock_is_no_storm(step: float) -> None:
    """After a step of the clock each key is renewed at most once more than otherwise."""
    bench = Bench()
    for key in (KEY, OTHER):
        bench.cache.pin(key)
    _ = await bench.step()
    bench.clock.set_wall(step)
    await bench.pass_by(600)
    assert set(Counter(bench.asked).values()) == {1 if step < 0 else 2}
    assert all(bench.cache.current(key) for key in (KEY, OTHER))


async def test_machine_that_woke_up_sends_no_dead_token() -> None:
    """After a sleep past expiry the old token is not served, and each key is fetched once."""
    bench = Bench()
    keys = [TokenKey(TokenKind.V2, f"1{number:04}") for number in range(50)]
    for key in keys:
        bench.cache.pin(key)
    await bench.pass_by(10)
    bench.clock.set_wall(8 * HOUR)
    assert [bench.cache.current(key) for key in keys] == [None] * 50
    await bench.pass_by(60)
    assert all(bench.cache.current(key) for key in keys)
    assert len(bench.asked) == 100


async def thousand(bench: Bench) -> list[TokenKey]:
    """Have tokens for a thousand institutions, that one after another has asked for."""
    keys = [TokenKey(TokenKind.V2, f"{number:05}") for number in range(1000)]
    for key in keys:
        _ = await bench.cache.token(key)
        bench.clock.turn(0.001)
    return keys


async def test_wake_up_of_a_thousand_keys_is_no_storm() -> None:
    """They are fetched in the pace that is set, the last used first, and each once."""
    bench = Bench(idle=24 * HOUR)
    keys = await thousand(bench)
    bench.clock.set_wall(8 * HOUR)
    begun = []
    for _ in range(60):
        before = len(bench.asked)
        await bench.pass_by(1)
        begun.append(len(bench.asked) - before)
    assert max(begun) <= 24
    assert begun[5:40] == [20] * 35
    assert len(bench.asked) == 2000
    assert bench.asked[1000:1010] == keys[:-11:-1]
    assert all(bench.cache.current(key) for key in keys)


async def test_request_does_not_wait_for_the_pace() -> None:
    """What a request needs is asked for at once, however many are in the queue."""
    bench = Bench(idle=24 * HOUR)
    keys = await thousand(bench)
    bench.clock.set_wall(8 * HOUR)
    bench.refresher.step()
    first = keys[0]
    assert (await bench.cache.token(first)).is_alive(bench.clock())


async def test_calls_under_way_are_bounded_and_trouble_goes_last() -> None:
    """A bank that hangs holds up a few calls, and the next place goes to a key that works."""
    bench = Bench(idle=24 * HOUR, policy=RefreshPolicy(max_refreshes=3))
    bad = [TokenKey(TokenKind.V2, f"9{number:04}") for number in range(5)]
    for key in bad:
        bench.teller.fail(failure(), key)
        bench.cache.pin(key)
    await bench.pass_by(HOUR)
    good = [TokenKey(TokenKind.V2, f"1{number:04}") for number in range(5)]
    for key in good:
        bench.cache.pin(key)
    bench.clock.turn(120)  # the back-off of the bad ones is over too
    bench.teller.open.clear()
    assert bench.refresher.step() == float("inf")
    under_way = [entry.key for entry in bench.cache.entries() if entry.fetch is not None]
    assert under_way == good[:3]
    bench.teller.open.set()


async def test_start_is_spread_unless_a_request_needs_the_token() -> None:
    """The first fetch waits for its part of the spread; a request goes before it."""
    bench = Bench(chance=0.5, policy=RefreshPolicy(start_spread=60))
    bench.cache.pin(KEY)
    bench.cache.pin(OTHER)
    await bench.pass_by(29)
    assert bench.asked == []
    _ = await bench.cache.token(OTHER)
    assert bench.asked == [OTHER]
    await bench.pass_by(2)
    assert bench.asked == [OTHER, KEY]
    assert (await bench.cache.token(KEY)).is_alive(bench.clock())


async def test_lone_proxy_starts_at_once() -> None:
    """With no spread set the first token is on its way with the first step."""
    bench = Bench(chance=0.99)
    bench.cache.pin(KEY)
    _ = await bench.step()
    assert bench.asked == [KEY]


async def test_refused_token_is_replaced_in_the_background() -> None:
    """A dropped token is fetched anew without waiting for a request."""
    bench = Bench()
    token = await bench.cache.token(KEY)
    bench.clock.turn(60)
    bench.cache.reject(token)
    _ = await bench.step()
    assert bench.cache.current(KEY) not in (None, token)


async def test_key_whose_token_is_on_its_way_is_not_released() -> None:
    """A slow answer is waited for, even to a key that has not been asked for since."""
    bench = Bench(idle=60)
    bench.teller.open.clear()
    waiter = asyncio.create_task(bench.cache.token(KEY))
    await bench.is_asked()
    bench.clock.turn(HOUR)
    bench.refresher.step()
    assert bench.knows(KEY)
    bench.teller.open.set()
    bench.teller.lifetime = 2 * HOUR
    assert await waiter is bench.cache.current(KEY)


async def test_it_looks_again_when_the_next_thing_is_due() -> None:
    """Between refreshes nothing is done: the soonest of all due times is waited for."""
    bench = Bench()
    _ = await bench.cache.token(KEY)
    assert bench.refresher.step() == pytest.approx(3300)
    bench.teller.lifetime = 60
    _ = await bench.cache.token(OTHER)
    assert bench.refresher.step() == pytest.approx(36)
    bench.clock.turn(30)
    assert bench.refresher.step() == pytest.approx(6)
    bench.teller.fail(failure(retry_after=20), OTHER)
    bench.clock.turn(6)
    assert await bench.step() == pytest.approx(20)


async def test_nothing_to_do_is_no_work() -> None:
    """Without a key there is nothing due, ever."""
    assert Bench().refresher.step() == float("inf")


# The loop itself, on the clock on the wall.


async def test_loop_wakes_for_a_new_key() -> None:
    """The sleeping loop notices at once that there is something to do."""
    bench = Bench()
    loop = asyncio.create_task(bench.refresher.run())
    await asyncio.sleep(0)
    bench.cache.pin(KEY)
    await until(lambda: bench.cache.current(KEY))
    loop.cancel()
    assert isinstance((await asyncio.gather(loop, return_exceptions=True))[0], BaseException)


async def test_loop_looks_again_without_being_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept sees what has become due, though the loop's own clock stood."""
    assert LONGEST_SLEEP <= 60
    monkeypatch.setattr("proxy.tokens.refresher.LONGEST_SLEEP", 0.05)
    bench = Bench()
    bench.cache.pin(KEY)
    loop = asyncio.create_task(bench.refresher.run())
    await until(lambda: bench.cache.current(KEY))
    bench.clock.set_wall(8 * HOUR)
    await until(lambda: bench.cache.current(KEY))
    assert len(bench.asked) == 2
    loop.cancel()


# The whole of it, against the sandbox bank.


async def test_tokens_of_seconds_are_renewed_under_traffic() -> None:
    """With lifetimes of a second requests go on for several lives, and none of them fails."""
    async with (
        Sandbox(Settings(lifetime=1)) as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
    ):
        statuses: Counter[int] = Counter()
        while len(bank.bank.token_requests) < 5:
            async with caller.get("/echo") as answer:
                statuses[answer.status] += 1
        times = [request.time for request in bank.bank.token_requests]
        assert statuses.keys() == {200}
        assert all(later - earlier >= 0.45 for earlier, later in pairwise(times))


async def test_outage_of_the_token_endpoint_leaves_traffic_alone(hand: Clock) -> None:
    """While every refresh fails, requests are served with the old token; then a new one comes."""
    async with (
        Sandbox(Settings(lifetime=HOUR), clock=lambda: hand.wall) as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
    ):
        (entry,) = app.tokens.entries()
        bank.bank.faults.append(Fault("token", status=503))
        hand.turn(3310)
        for failures in (1, 2, 3):
            app.tokens.on_change()
            await until(lambda: entry.failures == failures)  # noqa: B023 - awaited here
            async with caller.get("/echo") as answer:
                assert answer.status == 200
            hand.turn(60)
        bank.bank.faults.clear()
        app.tokens.on_change()
        await until(lambda: entry.failures == 0)
        assert [request.outcome for request in bank.bank.token_requests].count("ok") == 2


async def test_outage_longer_than_a_life_is_told_and_ends(hand: Clock) -> None:
    """Past expiry callers read 503, no dead token reaches the bank, and it heals by itself."""
    async with (
        Sandbox(Settings(lifetime=HOUR), clock=lambda: hand.wall) as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
    ):
        bank.bank.faults.append(Fault("token", status=503))
        hand.turn(HOUR)
        async with caller.get("/echo") as answer:
            assert (answer.status, answer.headers["x-proxy-error-source"]) == (503, "token")
        assert not app.readiness().is_ready
        assert not bank.bank.arrivals
        bank.bank.faults.clear()
        hand.turn(60)
        app.tokens.on_change()
        await until(lambda: app.readiness().is_ready)
        async with caller.get("/echo") as answer:
            assert answer.status == 200


async def test_bank_that_is_down_at_first_makes_ready_later() -> None:
    """A proxy started before its bank answers becomes ready without help."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", status=500, times=2))
        async with running(bank, token={"backoff_initial": "0.1"}):
            outcomes = [request.outcome for request in bank.bank.token_requests]
            assert outcomes[2:] == ["ok"]
