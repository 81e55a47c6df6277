"""The cache: one request in flight, served until expiry, refused tokens dropped by identity."""

import asyncio
import gc
from collections.abc import Awaitable, Iterable

import pytest

from proxy.errors import TokenError, TokenFailure
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, TokenRejected, TokenReleased
from proxy.tokens.token import Token, TokenKey, TokenKind
from tests.tokens.harness import HOUR, KEY, OTHER, Bench, failure


async def gathered(waiting: Iterable[Awaitable[Token]]) -> list[Token | BaseException]:
    """Return what each came to."""
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_first_use_asks_the_bank_and_later_ones_do_not() -> None:
    """A token is fetched once and then handed out as the object that it is."""
    bench = Bench()
    assert bench.cache.current(KEY) is None
    first = await bench.cache.token(KEY)
    assert await bench.cache.token(KEY) is first
    assert bench.cache.current(KEY) is first
    assert bench.asked == [KEY]


async def test_two_hundred_waiters_are_one_request() -> None:
    """However many wait, the bank is asked once, and a third giving up changes nothing."""
    bench = Bench()
    bench.teller.open.clear()
    waiters = [asyncio.create_task(bench.cache.token(KEY)) for _ in range(200)]
    await bench.is_asked()
    for waiter in waiters[::3]:
        waiter.cancel()
    bench.teller.open.set()
    outcomes = await gathered(waiters)
    assert bench.asked == [KEY]
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::3])
    served = [outcome for at, outcome in enumerate(outcomes) if at % 3]
    assert len(served) == 133
    assert {id(token) for token in served} == {id(bench.cache.current(KEY))}


async def test_fetch_goes_on_when_every_waiter_gave_up() -> None:
    """The token that all have given up on is there for the next one."""
    bench = Bench()
    bench.teller.open.clear()
    waiter = asyncio.create_task(bench.cache.token(KEY))
    await bench.is_asked()
    waiter.cancel()
    _ = await gathered([waiter])
    bench.teller.open.set()
    await bench.settle()
    assert bench.cache.current(KEY) is not None
    assert bench.asked == [KEY]


async def test_waiters_share_a_failure_too() -> None:
    """One failed request is one failure for all who waited, each told when to come back."""
    bench = Bench()
    bench.teller.fail(failure(TokenFailure.BAD_CLIENT))
    outcomes = await gathered(bench.cache.token(KEY) for _ in range(50))
    assert bench.asked == [KEY]
    assert {(o.reason, o.retry_after) for o in outcomes if isinstance(o, TokenError)} == {
        (TokenFailure.BAD_CLIENT, 60)
    }
    assert len({id(outcome) for outcome in outcomes}) == 50


async def test_token_is_served_until_it_expires() -> None:
    """While the bank is down a live token is handed out to its last second, and never after."""
    bench = Bench()
    token = await bench.cache.token(KEY)
    bench.teller.fail(failure())
    bench.clock.turn(HOUR - 0.001)
    assert await bench.cache.token(KEY) is token
    bench.clock.turn(0.001)
    assert bench.cache.current(KEY) is None
    with pytest.raises(TokenError):
        await bench.cache.token(KEY)


async def test_back_off_answers_at_once() -> None:
    """During a back-off the bank is left alone, and a caller hears how much of it is left."""
    bench = Bench()
    bench.teller.fail(failure(retry_after=30))
    with pytest.raises(TokenError):
        await bench.cache.token(KEY)
    bench.clock.turn(10)
    with pytest.raises(TokenError) as caught:
        await bench.cache.token(KEY)
    assert caught.value.retry_after == pytest.approx(20)
    assert bench.asked == [KEY]


async def test_back_off_ends() -> None:
    """Behind the back-off the bank is asked again, and a good answer clears the count."""
    bench = Bench()
    bench.teller.fail(failure(retry_after=30))
    _ = await gathered([bench.cache.token(KEY)])
    bench.clock.turn(30)
    bench.teller.errors.clear()
    assert (await bench.cache.token(KEY)).is_alive(bench.clock())
    assert (bench.entry().failures, bench.entry().error) == (0, None)


@pytest.mark.parametrize("reason", [reason for reason in TokenFailure if reason.is_refusal])
async def test_refusal_is_remembered_and_forgiven(reason: TokenFailure) -> None:
    """Refused credentials are not tried again for a minute, but at once when they have changed."""
    bench = Bench()
    bench.teller.fail(failure(reason))
    _ = await gathered([bench.cache.token(KEY)])
    bench.clock.turn(59)
    _ = await gathered([bench.cache.token(KEY)])
    assert len(bench.asked) == 1
    bench.teller.errors.clear()
    bench.cache.clear_failures({OTHER})
    _ = await gathered([bench.cache.token(KEY)])
    assert len(bench.asked) == 1
    bench.cache.clear_failures({KEY, OTHER})
    assert (await bench.cache.token(KEY)).is_alive(bench.clock())


async def test_failures_are_counted_up() -> None:
    """The delay grows with each failure in a row, and each is told."""
    bench = Bench(chance=0.9)
    bench.teller.fail(failure())
    for _ in range(8):
        _ = await gathered([bench.cache.token(KEY)])
        bench.clock.turn(60)
    told = [fact for fact in bench.facts if isinstance(fact, TokenRefreshFailed)]
    assert [fact.failures for fact in told] == list(range(1, 9))
    assert [round(fact.delay, 1) for fact in told] == [0.9, 1.8, 3.6, 7.2, 14.4, 28.8, 54, 54]


async def test_trouble_of_one_institution_stays_its_own() -> None:
    """A refused institution has its own failures and its own back-off; another notices nothing."""
    bench = Bench()
    bench.teller.fail(failure(TokenFailure.BAD_INSTITUTION))
    _ = await gathered([bench.cache.token(KEY)])
    token = await bench.cache.token(OTHER)
    assert token.key == OTHER
    assert bench.cache.current(OTHER) is token
    assert bench.cache.current(KEY) is None


async def test_hanging_institution_holds_nobody_up() -> None:
    """A token that is waited for in one institution delays no other."""
    bench = Bench()
    bench.teller.open.clear()
    slow = asyncio.create_task(bench.cache.token(KEY))
    await bench.is_asked()
    bench.teller.open.set()
    assert (await bench.cache.token(OTHER)).key == OTHER
    assert (await slow).key == KEY


async def test_generations_are_kept_apart() -> None:
    """The V1 and the V2 token of one institution are two."""
    bench = Bench()
    v1, v2 = [await bench.cache.token(TokenKey(kind, "00016")) for kind in TokenKind]
    assert v1 is not v2
    assert len(bench.asked) == 2


async def test_refused_token_is_dropped() -> None:
    """A token that the bank refuses is gone, and the next one is another."""
    bench = Bench()
    token = await bench.cache.token(KEY)
    bench.clock.turn(60)
    assert bench.cache.reject(token)
    assert bench.cache.current(KEY) is None
    assert await bench.cache.token(KEY) is not token
    assert TokenRejected(token, was_current=True) in bench.facts


async def test_late_refusal_of_an_old_token_does_no_harm() -> None:
    """A refusal means the token that it was about, not the one that has replaced it."""
    bench = Bench()
    old = await bench.cache.token(KEY)
    bench.clock.turn(60)
    bench.cache.reject(old)
    new = await bench.cache.token(KEY)
    bench.clock.turn(60)
    assert bench.cache.reject(old)
    assert bench.cache.current(KEY) is new
    assert bench.facts[-1] == TokenRejected(old, was_current=False)


async def test_refusals_by_many_at_once_are_one_new_token() -> None:
    """A hundred requests that were refused with one token share its successor."""
    bench = Bench()
    token = await bench.cache.token(KEY)
    bench.clock.turn(60)
    assert all(bench.cache.reject(token) for _ in range(100))
    tokens = await gathered(bench.cache.token(KEY) for _ in range(100))
    assert len({id(token) for token in tokens}) == 1
    assert len(bench.asked) == 2


async def test_fresh_token_is_not_thrown_away() -> None:
    """A bank that refuses even a new token is not asked for another one with each request."""
    bench = Bench()
    token = await bench.cache.token(KEY)
    bench.clock.turn(9)
    assert not bench.cache.reject(token)
    assert bench.cache.current(KEY) is token
    assert bench.facts[-1] == TokenRejected(token, was_current=False)


async def test_bank_that_refuses_every_token_is_asked_every_ten_seconds() -> None:
    """A thousand refused requests in a minute are six token requests."""
    bench = Bench()
    for _ in range(1000):
        bench.cache.reject(await bench.cache.token(KEY))
        bench.clock.turn(0.06)
    assert len(bench.asked) == 6


async def test_rejecting_a_token_of_an_unknown_key_is_harmless() -> None:
    """A key may have been let go between request and refusal."""
    bench = Bench()
    token = await bench.cache.token(KEY)
    bench.cache.release(bench.entry())
    assert bench.cache.reject(token)
    assert not bench.knows(KEY)


async def test_mistake_of_our_own_is_a_failure_like_any_other() -> None:
    """A bug in a token source is told, waited out, and latches nothing."""
    bench = Bench()
    bug = ZeroDivisionError("Bearer not-for-callers")
    bench.teller.fail(bug)
    with pytest.raises(TokenError) as caught:
        await bench.cache.token(KEY)
    assert caught.value.reason is TokenFailure.INTERNAL
    assert "not-for-callers" not in caught.value.detail
    told = bench.facts[-1]
    assert isinstance(told, TokenRefreshFailed)
    assert told.error.__cause__ is bug
    bench.teller.errors.clear()
    bench.clock.turn(1)
    assert (await bench.cache.token(KEY)).is_alive(bench.clock())


async def test_token_that_is_dead_on_arrival_is_not_handed_out() -> None:
    """A bank slower than its tokens live gives none, and says so as a failure."""
    bench = Bench()
    bench.teller.lifetime, bench.teller.takes = 2, 3
    with pytest.raises(TokenError) as caught:
        await bench.cache.token(KEY)
    assert caught.value.reason is TokenFailure.TIMEOUT
    assert bench.cache.current(KEY) is None


async def test_machine_that_slept_through_a_fetch_takes_no_dead_token() -> None:
    """A token asked for before a sleep that outlasted it is not used after."""
    bench = Bench()
    bench.teller.open.clear()
    waiter = asyncio.create_task(bench.cache.token(KEY))
    await bench.is_asked()
    bench.clock.set_wall(2 * HOUR)
    bench.teller.open.set()
    assert isinstance((await gathered([waiter]))[0], TokenError)
    bench.clock.turn(1)
    assert (await bench.cache.token(KEY)).is_alive(bench.clock())


@pytest.mark.parametrize("step", [-HOUR, HOUR, -HOUR * 24 * 365, HOUR * 24 * 365])
async def test_stepped_clock_costs_at_most_one_request(step: float) -> None:
    """A clock set back or forth sends no dead token and asks the bank once at most."""
    bench = Bench()
    _ = await bench.cache.token(KEY)
    bench.clock.set_wall(step)
    for _ in range(100):
        assert (await bench.cache.token(KEY)).is_alive(bench.clock())
        bench.clock.turn(1)
    assert len(bench.asked) == (1 if step < 0 else 2)


async def test_clock_set_back_does_not_lengthen_a_life() -> None:
    """After a step backwards a token still dies when the monotonic clock says so."""
    bench = Bench()
    token = await bench.cache.token(KEY)
    bench.clock.set_wall(-HOUR)
    bench.clock.turn(HOUR)
    assert not token.is_alive(bench.clock())
    assert await bench.cache.token(KEY) is not token


async def test_token_from_elsewhere_is_taken() -> None:
    """A token that was obtained in another way is served, and ends a back-off."""
    bench = Bench()
    bench.teller.fail(failure(TokenFailure.BAD_USER))
    _ = await gathered([bench.cache.token(KEY)])
    token = Token(KEY, "logged-in", bench.clock(), HOUR)
    bench.cache.install(token)
    assert await bench.cache.token(KEY) is token
    assert (bench.entry().failures, bench.entry().error) == (0, None)
    assert bench.refresher.step() == pytest.approx(3300)


async def test_token_from_elsewhere_replaces_none_if_so_told() -> None:
    """With ``unless_known`` the token that is here stays."""
    bench = Bench()
    known = await bench.cache.token(KEY)
    other = Token(KEY, "handed-on", bench.clock(), HOUR)
    bench.cache.install(other, unless_known=True)
    assert bench.cache.current(KEY) is known
    bench.cache.install(other)
    assert bench.cache.current(KEY) is other


async def test_facts_say_what_a_refresh_took() -> None:
    """A refresh is told with its duration and the age at which the next is due."""
    bench = Bench()
    bench.teller.takes = 0.25
    token = await bench.cache.token(KEY)
    assert bench.facts == [TokenRefreshed(token, 0.25, 3300)]


async def test_least_recently_used_goes_first() -> None:
    """Beyond its capacity the cache lets the longest unused key go, and says so."""
    bench = Bench(capacity=3)
    keys = [TokenKey(TokenKind.V2, f"0000{number}") for number in range(4)]
    for key in keys[:3]:
        _ = await bench.cache.token(key)
        bench.clock.turn(1)
    bench.cache.current(keys[0])
    _ = await bench.cache.token(keys[3])
    assert [key for key in keys if bench.knows(key)] == [keys[0], keys[2], keys[3]]
    assert TokenReleased(keys[1]) in bench.facts


async def test_pinned_key_is_never_crowded_out() -> None:
    """The institution that must always have a token keeps it, however many others come."""
    bench = Bench(capacity=3)
    bench.cache.pin(KEY)
    _ = await bench.cache.token(KEY)
    for number in range(20):
        bench.clock.turn(1)
        _ = await bench.cache.token(TokenKey(TokenKind.V2, f"1{number:04}"))
    assert bench.cache.current(KEY) is not None
    assert len(list(bench.cache.entries())) == 3


async def test_key_whose_token_is_on_its_way_stays() -> None:
    """A key that is being fetched is not let go for one that is not."""
    bench = Bench(capacity=2)
    bench.teller.open.clear()
    waiter = asyncio.create_task(bench.cache.token(KEY))
    await bench.is_asked()
    bench.clock.turn(1)
    bench.cache.pin(OTHER)
    bench.entry(OTHER).pinned = False
    bench.clock.turn(1)
    bench.cache.pin(TokenKey(TokenKind.V2, "00018"))
    assert bench.knows(KEY)
    assert not bench.knows(OTHER)
    bench.teller.open.set()
    assert await waiter is bench.cache.current(KEY)


async def test_close_ends_what_is_in_flight() -> None:
    """After ``close`` no request to the bank is under way and no task is left behind."""
    bench = Bench()
    bench.teller.open.clear()
    waiter = asyncio.create_task(bench.cache.token(KEY))
    await bench.is_asked()
    await bench.cache.close()
    assert isinstance((await gathered([waiter]))[0], asyncio.CancelledError)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_failure_that_nobody_waits_for_is_no_loose_exception() -> None:
    """A background fetch that fails leaves no exception for the event loop to complain of."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    bench = Bench()
    bench.teller.fail(failure())
    bench.cache.pin(KEY)
    bench.cache.start_refresh(bench.entry())
    await bench.settle()
    bench.cache.release(bench.entry())
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    assert isinstance(bench.facts[0], TokenRefreshFailed)
