"""The token cache: one request in flight, tokens served until expiry, refused tokens dropped."""

import asyncio
import gc
from collections.abc import Awaitable, Iterable

import pytest

from proxy.errors import TokenError, TokenFailure, kinds
from proxy.tokens.cache import Entry
from proxy.tokens.events import (
    TokenCallSlow,
    TokenConflict,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
    TokenUnchanged,
)
from proxy.tokens.held import Reaction
from proxy.tokens.token import Token, TokenKey, TokenKind
from proxy.tokens.token_response import TokenExpiringError
from tests.tokens.harness import HOUR, KEY, OTHER, SimulatedClock, TokenHarness, failure


async def gathered(waiting: Iterable[Awaitable[Token]]) -> list[Token | BaseException]:
    """Return the result or error of each."""
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_token_is_fetched_once() -> None:
    """Later requests get the cached object."""
    harness = TokenHarness()
    assert harness.cache.current(KEY) is None
    first = await harness.cache.token(KEY)
    assert await harness.cache.token(KEY) is first
    assert harness.cache.current(KEY) is first
    assert harness.requested_keys == [KEY]


async def test_concurrent_waiters_share_one_request() -> None:
    """Cancelling a third of them changes nothing."""
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


async def test_fetch_continues_without_waiters() -> None:
    """Its token is there for the next request."""
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


async def test_waiters_share_a_failure() -> None:
    """Each gets the same error with Retry-After."""
    harness = TokenHarness()
    harness.source.fail(failure(kinds.TOKEN_BAD_CLIENT))
    outcomes = await gathered(harness.cache.token(KEY) for _ in range(50))
    assert harness.requested_keys == [KEY]
    assert {(o.reason, o.retry_after) for o in outcomes if isinstance(o, TokenError)} == {
        (kinds.TOKEN_BAD_CLIENT, 10)
    }
    assert len({id(outcome) for outcome in outcomes}) == 50


async def test_token_is_served_until_it_expires() -> None:
    """A failing bank does not matter before; an expired token is never served."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.source.fail(failure())
    harness.clock.advance(HOUR - 0.001)
    assert await harness.cache.token(KEY) is token
    harness.clock.advance(0.001)
    assert harness.cache.current(KEY) is None
    with pytest.raises(TokenError):
        await harness.cache.token(KEY)


async def test_back_off_fails_at_once() -> None:
    """The bank is not called, and the caller gets the remaining time."""
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
    """The bank is called again, and a success resets the count."""
    harness = TokenHarness()
    harness.source.fail(failure(retry_after=30))
    _ = await gathered([harness.cache.token(KEY)])
    harness.clock.advance(30)
    harness.source.errors.clear()
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())
    assert (harness.entry().failures, harness.entry().error) == (0, None)


@pytest.mark.parametrize("reason", [kind for kind in kinds.TOKEN_FAILURES if kind.is_refusal])
async def test_refused_credentials_are_remembered(reason: TokenFailure) -> None:
    """They are not tried for a minute, except after a change."""
    harness = TokenHarness()
    _ = await harness.cache.token(KEY)
    harness.clock.advance(HOUR)
    harness.source.fail(failure(reason))
    _ = await gathered([harness.cache.token(KEY)])
    harness.clock.advance(59)
    _ = await gathered([harness.cache.token(KEY)])
    assert len(harness.requested_keys) == 2
    harness.source.errors.clear()
    harness.cache.clear_failures({OTHER})
    _ = await gathered([harness.cache.token(KEY)])
    assert len(harness.requested_keys) == 2
    harness.cache.clear_failures({KEY, OTHER})
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())


async def test_failures_in_a_row_are_counted() -> None:
    """The delay grows, and each failure is reported."""
    harness = TokenHarness(chance=0.9)
    harness.source.fail(failure())
    for _ in range(8):
        _ = await gathered([harness.cache.token(KEY)])
        harness.clock.advance(60)
    reported = [event for event in harness.events if isinstance(event, TokenRefreshFailed)]
    assert [event.failures for event in reported] == list(range(1, 9))
    assert [round(event.delay, 1) for event in reported] == [0.9, 1.8, 3.6, 7.2, 14.4, 28.8, 54, 54]


async def test_institutions_fail_separately() -> None:
    """One refused institution does not affect another."""
    harness = TokenHarness()
    harness.source.fail(failure(kinds.TOKEN_BAD_INSTITUTION))
    _ = await gathered([harness.cache.token(KEY)])
    token = await harness.cache.token(OTHER)
    assert token.key == OTHER
    assert harness.cache.current(OTHER) is token
    assert harness.cache.current(KEY) is None


async def test_hanging_institution_delays_no_other() -> None:
    """Another institution's token is fetched meanwhile."""
    harness = TokenHarness()
    harness.source.may_answer.clear()
    slow = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    harness.source.may_answer.set()
    assert (await harness.cache.token(OTHER)).key == OTHER
    assert (await slow).key == KEY


async def test_generations_have_separate_tokens() -> None:
    """V1 and V2 of one institution are two keys."""
    harness = TokenHarness()
    v1, v2 = [await harness.cache.token(TokenKey(kind, "00016")) for kind in TokenKind]
    assert v1 is not v2
    assert len(harness.requested_keys) == 2


async def test_refused_token_is_dropped() -> None:
    """The next request fetches another."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.advance(60)
    assert harness.cache.reject(token) is Reaction.DROPPED
    assert harness.cache.current(KEY) is None
    assert await harness.cache.token(KEY) is not token
    assert TokenRejected(token, was_current=True) in harness.events


async def test_late_refusal_of_an_old_token_is_ignored() -> None:
    """The current token stays."""
    harness = TokenHarness()
    old = await harness.cache.token(KEY)
    harness.clock.advance(60)
    harness.cache.reject(old)
    new = await harness.cache.token(KEY)
    harness.clock.advance(60)
    assert harness.cache.reject(old) is Reaction.OUTDATED
    assert harness.cache.current(KEY) is new
    assert harness.events[-1] == TokenRejected(old, was_current=False)


async def test_concurrent_refusals_cause_one_request() -> None:
    """A hundred refused requests share the new token."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.advance(60)
    reactions = [harness.cache.reject(token) for _ in range(100)]
    assert reactions == [Reaction.DROPPED, *[Reaction.OUTDATED] * 99]
    tokens = await gathered(harness.cache.token(KEY) for _ in range(100))
    assert len({id(token) for token in tokens}) == 1
    assert len(harness.requested_keys) == 2


async def test_second_refused_token_is_kept() -> None:
    """The first is dropped at once; the next would cost a token request for each refusal."""
    harness = TokenHarness()
    assert harness.cache.reject(await harness.cache.token(KEY)) is Reaction.DROPPED
    token = await harness.cache.token(KEY)
    harness.clock.advance(9)
    assert harness.cache.reject(token) is Reaction.KEPT
    assert harness.cache.current(KEY) is token
    assert harness.events[-1] == TokenRejected(token, was_current=False)


async def test_refused_tokens_are_replaced_less_and_less() -> None:
    """A resource that always refuses costs 11 token requests in 20 minutes, not 120."""
    harness = TokenHarness()
    for _ in range(20_000):
        harness.cache.reject(await harness.cache.token(KEY))
        harness.clock.advance(0.06)
    assert len(harness.requested_keys) == 2 + len([10, 30, 70, 150, 310, 610, 910])


async def test_former_token_is_used_while_the_new_one_is_refused() -> None:
    """The new one is tried again by the refresher, or when the former has expired."""
    harness = TokenHarness()
    old = await harness.cache.token(KEY)
    harness.clock.advance(HOUR / 2)
    harness.cache.start_refresh(harness.entry())
    await harness.settle()
    new = harness.cache.current(KEY)
    assert new is not None
    harness.clock.advance(0.5)
    assert harness.cache.reject(new) is Reaction.FORMER
    assert await harness.cache.token(KEY) is old
    assert harness.refresher.step() == pytest.approx(1)
    harness.clock.advance(1)
    harness.refresher.step()
    assert harness.cache.current(KEY) is new
    assert harness.cache.reject(new) is Reaction.FORMER
    harness.clock.advance(HOUR / 2)
    assert await harness.cache.token(KEY) is new
    assert len(harness.requested_keys) == 2


async def test_all_refused_tokens_are_reported() -> None:
    """The one in use, and a newer one that was refused before."""
    harness = TokenHarness()
    rejected: list[Token] = []
    harness.cache.on_rejected = rejected.append
    old = await harness.cache.token(KEY)
    harness.clock.advance(HOUR / 2)
    harness.cache.start_refresh(harness.entry())
    await harness.settle()
    new = await harness.cache.token(KEY)
    assert harness.cache.reject(new) is Reaction.FORMER
    assert harness.cache.reject(old) is Reaction.DROPPED
    assert rejected == [old, new]
    assert await harness.cache.token(KEY) not in rejected


async def test_token_before_a_login_is_not_used_again() -> None:
    """It may be another user's."""
    harness = TokenHarness()
    _ = await harness.cache.token(KEY)
    harness.cache.clear_failures({KEY})
    harness.cache.start_refresh(harness.entry())
    await harness.settle()
    assert harness.cache.reject(await harness.cache.token(KEY)) is Reaction.DROPPED


async def test_token_without_a_successor_is_kept() -> None:
    """A static token is not dropped."""
    harness = TokenHarness(can_replace=False)
    token = await harness.cache.token(KEY)
    harness.clock.advance(60)
    assert harness.cache.reject(token) is Reaction.KEPT
    assert harness.cache.current(KEY) is token


async def test_conflict_is_reported_once() -> None:
    """Each new token works, and is refused soon."""
    harness = TokenHarness()
    for _ in range(6):
        token = await harness.cache.token(KEY)
        harness.cache.accept(token)
        harness.clock.advance(10)
        assert harness.cache.reject(token) is Reaction.DROPPED
    assert harness.events.count(TokenConflict(KEY)) == 1
    assert harness.entry().held.is_in_conflict
    harness.cache.accept(Token(OTHER, "of no entry", harness.clock(), HOUR))


class RepeatingSource:
    """An endpoint that hands out one token, with the whole seconds left, until it has expired."""

    def __init__(self, clock: SimulatedClock, lifetime: float) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.calls, self.ends, self.number = 0, -1.0, 0

    async def token(self, key: TokenKey) -> Token:
        """Return the token. Raises ``TokenExpiringError``."""
        asked = self.clock()
        self.clock.advance(0.05)
        self.calls += 1
        now = self.clock.monotonic
        if now >= self.ends:
            self.number, self.ends = self.number + 1, now + self.lifetime
        self.clock.advance(0.05)
        left = float(int(self.ends - now))
        if left < 1:
            raise TokenExpiringError(left)
        return Token(key, f"token-{self.number}", asked, left)


@pytest.mark.parametrize("lifetime", [20, 40, 3600])
@pytest.mark.parametrize("offset", [0, 0.6, 7.3])
async def test_repeated_token_is_kept_until_its_end(lifetime: float, offset: float) -> None:
    """One to two calls per lifetime, and no failure; the first token is met in its life."""
    harness = TokenHarness()
    source = RepeatingSource(harness.clock, lifetime)
    harness.cache._source = source
    _ = await source.token(KEY)
    harness.clock.advance(offset)
    harness.cache.pin(KEY)
    source.calls = 0
    end = harness.clock.monotonic + 20 * lifetime
    while harness.clock.monotonic < end:
        harness.refresher.step()
        _ = await harness.cache.token(KEY)
        await harness.settle()
        harness.clock.advance(lifetime / 800)
    assert not [event for event in harness.events if isinstance(event, TokenRefreshFailed)]
    assert any(isinstance(event, TokenUnchanged) for event in harness.events)
    assert 20 <= source.calls <= 32
    assert not harness.entry().failures


async def test_repeated_token_may_end_earlier() -> None:
    """The earlier end counts, and a later one does not."""
    harness = TokenHarness()
    ends = [HOUR, HOUR, 300.0, HOUR]

    class Source:
        async def token(self, key: TokenKey) -> Token:
            return Token(key, "same", harness.clock(), ends.pop(0))

    harness.cache._source = Source()
    token = await harness.cache.token(KEY)
    for left in (3000.0, 300.0, 300.0):
        if left == 3000.0:
            harness.clock.advance(600)
        harness.cache.start_refresh(harness.entry())
        await harness.settle()
        current = harness.cache.current(KEY)
        assert current is not None
        assert current.text == token.text
        assert current.remaining(harness.clock()) == pytest.approx(left)
        assert harness.entry().until_due(harness.clock()) == pytest.approx(left)


async def test_token_that_is_always_about_to_expire_is_a_failure() -> None:
    """After three calls, a second apart or what is left of it."""
    harness = TokenHarness()
    harness.source.fail(TokenExpiringError(0.25))
    started = harness.clock.monotonic
    with pytest.raises(TokenError) as caught:
        await harness.cache.token(KEY)
    assert caught.value.reason is kinds.TOKEN_MALFORMED
    assert len(harness.requested_keys) == 3
    assert harness.clock.monotonic - started == pytest.approx(0.5)


async def test_refused_token_that_was_repeated_is_replaced_at_once() -> None:
    """Without waiting for its end."""
    harness = TokenHarness()
    source = RepeatingSource(harness.clock, 40)
    harness.cache._source = source
    token = await harness.cache.token(KEY)
    harness.clock.advance(20)
    harness.cache.start_refresh(harness.entry())
    await harness.settle()
    assert harness.entry().until_due(harness.clock()) > 15
    harness.cache.reject(token)
    assert harness.entry().until_due(harness.clock()) == 0


async def test_slow_call_is_reported_once() -> None:
    """Until one is fast again; a token of the store took no call."""
    harness = TokenHarness()
    harness.source.lifetime = 20
    for seconds in (9.0, 10.0, 11.0, 1.0, 12.0):
        harness.source.call_seconds = seconds
        harness.cache.start_refresh(harness.entry() if harness.knows(KEY) else unused(harness))
        await harness.settle()
        assert harness.entry().is_call_slow == (seconds >= 10)
    reported = [event for event in harness.events if isinstance(event, TokenCallSlow)]
    assert [(event.seconds, event.lifetime) for event in reported] == [(10, 20), (12, 20)]


def unused(harness: TokenHarness) -> Entry:
    """Return the entry of a key that has had no call."""
    harness.cache.pin(KEY)
    return harness.entry()


async def test_rejection_for_an_unknown_key_is_ignored() -> None:
    """The key may have been released meanwhile."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.cache.release(harness.entry())
    assert harness.cache.reject(token) is Reaction.OUTDATED
    assert not harness.knows(KEY)


async def test_internal_error_is_a_failure() -> None:
    """It is reported and retried after a back-off."""
    harness = TokenHarness()
    bug = ZeroDivisionError("Bearer not-for-callers")
    harness.source.fail(bug)
    with pytest.raises(TokenError) as caught:
        await harness.cache.token(KEY)
    assert caught.value.reason is kinds.TOKEN_INTERNAL
    assert "not-for-callers" not in caught.value.detail
    reported = harness.events[-1]
    assert isinstance(reported, TokenRefreshFailed)
    assert reported.error.__cause__ is bug
    harness.source.errors.clear()
    harness.clock.advance(1)
    assert (await harness.cache.token(KEY)).is_alive(harness.clock())


async def test_token_that_arrives_expired_is_a_failure() -> None:
    """It is not served; the error has both times."""
    harness = TokenHarness()
    harness.source.lifetime, harness.source.call_seconds = 2, 3
    with pytest.raises(TokenError, match=r"takes 3\.0 s, and its token lives for 2 s") as caught:
        await harness.cache.token(KEY)
    assert caught.value.reason is kinds.TOKEN_SLOW
    assert harness.cache.current(KEY) is None


async def test_token_that_expires_during_sleep_is_not_served() -> None:
    """The machine slept during the fetch."""
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
    """In either direction no expired token is served."""
    harness = TokenHarness()
    _ = await harness.cache.token(KEY)
    harness.clock.set_wall(step)
    for _ in range(100):
        assert (await harness.cache.token(KEY)).is_alive(harness.clock())
        harness.clock.advance(1)
    assert len(harness.requested_keys) == (1 if step < 0 else 2)


async def test_clock_set_back_does_not_extend_a_lifetime() -> None:
    """The monotonic clock still ends it."""
    harness = TokenHarness()
    token = await harness.cache.token(KEY)
    harness.clock.set_wall(-HOUR)
    harness.clock.advance(HOUR)
    assert not token.is_alive(harness.clock())
    assert await harness.cache.token(KEY) is not token


async def test_inserted_token_is_served() -> None:
    """A token obtained in another way also ends a back-off."""
    harness = TokenHarness()
    harness.source.fail(failure(kinds.TOKEN_BAD_USER))
    _ = await gathered([harness.cache.token(KEY)])
    token = Token(KEY, "logged-in", harness.clock(), HOUR)
    harness.cache.install(token)
    assert await harness.cache.token(KEY) is token
    assert (harness.entry().failures, harness.entry().error) == (0, None)
    assert harness.refresher.step() == pytest.approx(3300)


async def test_inserted_token_may_be_optional() -> None:
    """With ``unless_known`` the current token stays."""
    harness = TokenHarness()
    known = await harness.cache.token(KEY)
    other = Token(KEY, "handed-on", harness.clock(), HOUR)
    harness.cache.install(other, unless_known=True)
    assert harness.cache.current(KEY) is known
    harness.cache.install(other)
    assert harness.cache.current(KEY) is other


async def test_refresh_event_has_its_duration() -> None:
    """And the age at which the next refresh is due."""
    harness = TokenHarness()
    harness.source.call_seconds = 0.25
    token = await harness.cache.token(KEY)
    assert harness.events == [TokenRefreshed(token, 0.25, 3300)]


async def test_least_recently_used_key_is_evicted() -> None:
    """At the cache's capacity, with an event."""
    harness = TokenHarness(capacity=3)
    keys = [TokenKey(TokenKind.V2, f"0000{number}") for number in range(4)]
    for key in keys[:3]:
        _ = await harness.cache.token(key)
        harness.clock.advance(1)
    harness.cache.current(keys[0])
    _ = await harness.cache.token(keys[3])
    assert [key for key in keys if harness.knows(key)] == [keys[0], keys[2], keys[3]]
    assert TokenReleased(keys[1]) in harness.events


async def test_pinned_key_is_not_evicted() -> None:
    """However many other keys there are."""
    harness = TokenHarness(capacity=3)
    harness.cache.pin(KEY)
    _ = await harness.cache.token(KEY)
    for number in range(20):
        harness.clock.advance(1)
        _ = await harness.cache.token(TokenKey(TokenKind.V2, f"1{number:04}"))
    assert harness.cache.current(KEY) is not None
    assert len(list(harness.cache.entries())) == 3


async def test_key_with_a_running_fetch_is_not_evicted() -> None:
    """Another key is evicted instead."""
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


async def test_close_cancels_running_fetches() -> None:
    """No task and no request is left."""
    harness = TokenHarness()
    harness.source.may_answer.clear()
    waiter = asyncio.create_task(harness.cache.token(KEY))
    await harness.wait_for_request()
    await harness.cache.close()
    assert isinstance((await gathered([waiter]))[0], asyncio.CancelledError)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_unawaited_failure_is_not_reported_by_asyncio() -> None:
    """A failed background fetch leaves no unretrieved exception."""
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
