"""The cache: one request in flight, served until expiry, refused tokens dropped by identity."""

import asyncio
import gc
from collections.abc import Awaitable, Iterable

import pytest

from proxy.errors import TokenError, TokenFailure, kinds
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, TokenRejected, TokenReleased
from proxy.tokens.token import Token, TokenKey, TokenKind
from tests.tokens.harness import HOUR, KEY, OTHER, TokenHarness, failure


async def gathered(waiting: Iterable[Awaitable[Token]]) -> list[Token | BaseException]:
    """Return what each came to."""
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_first_use_asks_the_bank_and_later_ones_do_not() -> None:
    """A token is fetched once and then handed out as the object that it is."""
    harness = TokenHarness()
    assert harness.cache.current(KEY) is None
    first = await harness.cache.token(KEY)
    assert await harness.cache.token(KEY) is first
    assert harness.cache.current(KEY) is first
    assert harness.requested_keys == [KEY]


async def test_two_hundred_waiters_are_one_request() -> None:
    """However many wait, the bank is asked once, and a third giving up changes nothing."""
    harness = TokenHarness()
    harness.source.may_answer.clear()
    waiters = [asyncio.create_task(harness.cache.token(KEY)) for _ in range(200)]
    await harness.wait_for_request()
    for waiter in waiters[::3]:
        waiter.cancel()
    harness.source.may_answer.set()
    outcomes = await gathered(waiters)
    assert harness.requested_keys == [KEY]
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::3])
    served = [outcome for at, outcome in enumerate(outcomes) if at % 3]
    assert len(served) == 133
    assert {id(token) for token in served} == {id(harness.cache.current(KEY))}


async def test_fetch_goes_on_when_every_waiter_gave_up() -> None:
    """The token that all have given up on is there for the next one."""
    harness = TokenHarness()
    harness.source.may_answer.clear()
    waiter = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    waiter.cancel()
    _ = await gathered([waiter])
    harness.source.may_answer.set()
    await harness.settle()
    assert harness.cache.current(KEY) is not None
    assert harness.requested_keys == [KEY]


async def test_waiters_share_a_failure_too() -> None:
    """One failed request is one failure for all who waited, each told when to come back."""
    harness = TokenHarness()
    harness.source.fail(failure(kinds.TOKEN_BAD_CLIENT))
    outcomes = await gathered(harness.cache.token(KEY) for _ in range(50))
    assert harness.requested_keys == [KEY]
    assert {(o.reason, o.retry_after) for o in outcomes if isinstance(o, TokenError)} == {
        (kinds.TOKEN_BAD_CLIENT, 60)
    }
    assert len({id(outcome) for outcome in outcomes}) == 50


async def test_token_is_served_until_it_expires() -> None:
    """While the bank is down a live token is handed out to its last second, and never after."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.source.fail(failure())
    harness.clock.advance(HOUR - 0.001)
    assert await harness.cache.token(KEY) is token
    harness.clock.advance(0.001)
    assert harness.cache.current(KEY) is None
    with pytest.raises(TokenError):
        await harness.cache.token(KEY)


async def test_back_off_answers_at_once() -> None:
    """During a back-off the bank is left alone, and a caller hears how much of it is left."""
    harness = TokenHarness()
    harness.source.fail(failure(retry_after=30))
    with pytest.raises(TokenError):
        await harness.cache.token(KEY)
    harness.clock.advance(10)
    with pytest.raises(TokenError) as caught:
        await harness.cache.token(KEY)
    assert caught.value.retry_after == pytest.approx(20)
    assert harness.requested_keys == [KEY]


async def test_back_off_ends() -> None:
    """Behind the back-off the bank is asked again, and a good answer clears the count."""
    harness = TokenHarness()
    harness.source.fail(failure(retry_after=30))
    _ = await gathered([harness.cache.token(KEY)])
    harness.clock.advance(30)
    harness.source.errors.clear()
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())
    assert (harness.entry().failures, harness.entry().error) == (0, None)


@pytest.mark.parametrize("reason", [kind for kind in kinds.TOKEN_FAILURES if kind.is_refusal])
async def test_refusal_is_remembered_and_forgiven(reason: TokenFailure) -> None:
    """Refused credentials are not tried again for a minute, but at once when they have changed."""
    harness = TokenHarness()
    harness.source.fail(failure(reason))
    _ = await gathered([harness.cache.token(KEY)])
    harness.clock.advance(59)
    _ = await gathered([harness.cache.token(KEY)])
    assert len(harness.requested_keys) == 1
    harness.source.errors.clear()
    harness.cache.clear_failures({OTHER})
    _ = await gathered([harness.cache.token(KEY)])
    assert len(harness.requested_keys) == 1
    harness.cache.clear_failures({KEY, OTHER})
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())


async def test_failures_are_counted_up() -> None:
    """The delay grows with each failure in a row, and each is told."""
    harness = TokenHarness(chance=0.9)
    harness.source.fail(failure())
    for _ in range(8):
        _ = await gathered([harness.cache.token(KEY)])
        harness.clock.advance(60)
    told = [event for event in harness.events if isinstance(event, TokenRefreshFailed)]
    assert [event.failures for event in told] == list(range(1, 9))
    assert [round(event.delay, 1) for event in told] == [0.9, 1.8, 3.6, 7.2, 14.4, 28.8, 54, 54]


async def test_trouble_of_one_institution_stays_its_own() -> None:
    """A refused institution has its own failures and its own back-off; another notices nothing."""
    harness = TokenHarness()
    harness.source.fail(failure(kinds.TOKEN_BAD_INSTITUTION))
    _ = await gathered([harness.cache.token(KEY)])
    token = await harness.cache.token(OTHER)
    assert token.key == OTHER
    assert harness.cache.current(OTHER) is token
    assert harness.cache.current(KEY) is None


async def test_hanging_institution_holds_nobody_up() -> None:
    """A token that is waited for in one institution delays no other."""
    harness = TokenHarness()
    harness.source.may_answer.clear()
    slow = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    harness.source.may_answer.set()
    assert (await harness.cache.token(OTHER)).key == OTHER
    assert (await slow).key == KEY


async def test_generations_are_kept_apart() -> None:
    """The V1 and the V2 token of one institution are two."""
    harness = TokenHarness()
    v1, v2 = [await harness.cache.token(TokenKey(kind, "00016")) for kind in TokenKind]
    assert v1 is not v2
    assert len(harness.requested_keys) == 2


async def test_refused_token_is_dropped() -> None:
    """A token that the bank refuses is gone, and the next one is another."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.advance(60)
    assert harness.cache.reject(token)
    assert harness.cache.current(KEY) is None
    assert await harness.cache.token(KEY) is not token
    assert TokenRejected(token, was_current=True) in harness.events


async def test_late_refusal_of_an_old_token_does_no_harm() -> None:
    """A refusal means the token that it was about, not the one that has replaced it."""
    harness = TokenHarness()
    old = await harness.cache.token(KEY)
    harness.clock.advance(60)
    harness.cache.reject(old)
    new = await harness.cache.token(KEY)
    harness.clock.advance(60)
    assert harness.cache.reject(old)
    assert harness.cache.current(KEY) is new
    assert harness.events[-1] == TokenRejected(old, was_current=False)


async def test_refusals_by_many_at_once_are_one_new_token() -> None:
    """A hundred requests that were refused with one token share its successor."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.advance(60)
    assert all(harness.cache.reject(token) for _ in range(100))
    tokens = await gathered(harness.cache.token(KEY) for _ in range(100))
    assert len({id(token) for token in tokens}) == 1
    assert len(harness.requested_keys) == 2


async def test_fresh_token_is_not_thrown_away() -> None:
    """A bank that refuses even a new token is not asked for another one with each request."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.advance(9)
    assert not harness.cache.reject(token)
    assert harness.cache.current(KEY) is token
    assert harness.events[-1] == TokenRejected(token, was_current=False)


async def test_bank_that_refuses_every_token_is_asked_every_ten_seconds() -> None:
    """A thousand refused requests in a minute are six token requests."""
    harness = TokenHarness()
    for _ in range(1000):
        harness.cache.reject(await harness.cache.token(KEY))
        harness.clock.advance(0.06)
    assert len(harness.requested_keys) == 6


async def test_rejecting_a_token_of_an_unknown_key_is_harmless() -> None:
    """A key may have been let go between request and refusal."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.cache.release(harness.entry())
    assert harness.cache.reject(token)
    assert not harness.knows(KEY)


async def test_mistake_of_our_own_is_a_failure_like_any_other() -> None:
    """A bug in a token source is told, waited out, and latches nothing."""
    harness = TokenHarness()
    bug = ZeroDivisionError("Bearer not-for-callers")
    harness.source.fail(bug)
    with pytest.raises(TokenError) as caught:
        await harness.cache.token(KEY)
    assert caught.value.reason is kinds.TOKEN_INTERNAL
    assert "not-for-callers" not in caught.value.detail
    told = harness.events[-1]
    assert isinstance(told, TokenRefreshFailed)
    assert told.error.__cause__ is bug
    harness.source.errors.clear()
    harness.clock.advance(1)
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())


async def test_token_that_is_dead_on_arrival_is_not_handed_out() -> None:
    """A bank slower than its tokens live gives none, and says so as a failure."""
    harness = TokenHarness()
    harness.source.lifetime, harness.source.call_seconds = 2, 3
    with pytest.raises(TokenError) as caught:
        await harness.cache.token(KEY)
    assert caught.value.reason is kinds.TOKEN_TIMEOUT
    assert harness.cache.current(KEY) is None


async def test_machine_that_slept_through_a_fetch_takes_no_dead_token() -> None:
    """A token asked for before a sleep that outlasted it is not used after."""
    harness = TokenHarness()
    harness.source.may_answer.clear()
    waiter = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    harness.clock.set_wall(2 * HOUR)
    harness.source.may_answer.set()
    assert isinstance((await gathered([waiter]))[0], TokenError)
    harness.clock.advance(1)
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())


@pytest.mark.parametrize("step", [-HOUR, HOUR, -HOUR * 24 * 365, HOUR * 24 * 365])
async def test_stepped_clock_costs_at_most_one_request(step: float) -> None:
    """A clock set back or forth sends no dead token and asks the bank once at most."""
    harness = TokenHarness()
    _ = await harness.cache.token(KEY)
    harness.clock.set_wall(step)
    for _ in range(100):
        assert (await harness.cache.token(KEY)).is_alive(harness.clock())
        harness.clock.advance(1)
    assert len(harness.requested_keys) == (1 if step < 0 else 2)


async def test_clock_set_back_does_not_lengthen_a_life() -> None:
    """After a step backwards a token still dies when the monotonic clock says so."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.set_wall(-HOUR)
    harness.clock.advance(HOUR)
    assert not token.is_alive(harness.clock())
    assert await harness.cache.token(KEY) is not token


async def test_token_from_elsewhere_is_taken() -> None:
    """A token that was obtained in another way is served, and ends a back-off."""
    harness = TokenHarness()
    harness.source.fail(failure(kinds.TOKEN_BAD_USER))
    _ = await gathered([harness.cache.token(KEY)])
    token = Token(KEY, "logged-in", harness.clock(), HOUR)
    harness.cache.install(token)
    assert await harness.cache.token(KEY) is token
    assert (harness.entry().failures, harness.entry().error) == (0, None)
    assert harness.refresher.step() == pytest.approx(3300)


async def test_token_from_elsewhere_replaces_none_if_so_told() -> None:
    """With ``unless_known`` the token that is here stays."""
    harness = TokenHarness()
    known = await harness.cache.token(KEY)
    other = Token(KEY, "handed-on", harness.clock(), HOUR)
    harness.cache.install(other, unless_known=True)
    assert harness.cache.current(KEY) is known
    harness.cache.install(other)
    assert harness.cache.current(KEY) is other


async def test_facts_say_what_a_refresh_took() -> None:
    """A refresh is told with its duration and the age at which the next is due."""
    harness = TokenHarness()
    harness.source.call_seconds = 0.25
    token = await harness.cache.token(KEY)
    assert harness.events == [TokenRefreshed(token, 0.25, 3300)]


async def test_least_recently_used_goes_first() -> None:
    """Beyond its capacity the cache lets the longest unused key go, and says so."""
    harness = TokenHarness(capacity=3)
    keys = [TokenKey(TokenKind.V2, f"0000{number}") for number in range(4)]
    for key in keys[:3]:
        _ = await harness.cache.token(key)
        harness.clock.advance(1)
    harness.cache.current(keys[0])
    _ = await harness.cache.token(keys[3])
    assert [key for key in keys if harness.knows(key)] == [keys[0], keys[2], keys[3]]
    assert TokenReleased(keys[1]) in harness.events


async def test_pinned_key_is_never_crowded_out() -> None:
    """The institution that must always have a token keeps it, however many others come."""
    harness = TokenHarness(capacity=3)
    harness.cache.pin(KEY)
    _ = await harness.cache.token(KEY)
    for number in range(20):
        harness.clock.advance(1)
        _ = await harness.cache.token(TokenKey(TokenKind.V2, f"1{number:04}"))
    assert harness.cache.current(KEY) is not None
    assert len(list(harness.cache.entries())) == 3


async def test_key_whose_token_is_on_its_way_stays() -> None:
    """A key that is being fetched is not let go for one that is not."""
    harness = TokenHarness(capacity=2)
    harness.source.may_answer.clear()
    waiter = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    harness.clock.advance(1)
    harness.cache.pin(OTHER)
    harness.entry(OTHER).pinned = False
    harness.clock.advance(1)
    harness.cache.pin(TokenKey(TokenKind.V2, "00018"))
    assert harness.knows(KEY)
    assert not harness.knows(OTHER)
    harness.source.may_answer.set()
    assert await waiter is harness.cache.current(KEY)


async def test_close_ends_what_is_in_flight() -> None:
    """After ``close`` no request to the bank is under way and no task is left behind."""
    harness = TokenHarness()
    harness.source.may_answer.clear()
    waiter = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    await harness.cache.close()
    assert isinstance((await gathered([waiter]))[0], asyncio.CancelledError)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_failure_that_nobody_waits_for_is_no_loose_exception() -> None:
    """A background fetch that fails leaves no exception for the event loop to complain of."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    harness = TokenHarness()
    harness.source.fail(failure())
    harness.cache.pin(KEY)
    harness.cache.start_refresh(harness.entry())
    await harness.settle()
    harness.cache.release(harness.entry())
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    assert isinstance(harness.events[0], TokenRefreshFailed)
