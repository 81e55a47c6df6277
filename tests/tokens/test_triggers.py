"""Triggers of token requests in events."""

from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, Trigger
from proxy.tokens.held import Reaction
from proxy.tokens.refresh_policy import RefreshPolicy
from tests.tokens.harness import HOUR, KEY, TokenHarness, failure


def triggers(harness: TokenHarness) -> list[Trigger]:
    """Return the trigger of each token request."""
    asked = (TokenRefreshed, TokenRefreshFailed)
    return [event.trigger for event in harness.events if isinstance(event, asked)]


async def test_first_and_due() -> None:
    """A key without a token, then a refresh before expiry."""
    harness = TokenHarness()
    harness.cache.pin(KEY)
    await harness.advance(HOUR)
    assert triggers(harness) == [Trigger.FIRST, Trigger.DUE]


async def test_failed_request_keeps_its_trigger() -> None:
    """Until there is a token."""
    harness = TokenHarness()
    harness.cache.pin(KEY)
    harness.source.fail(failure())
    await harness.advance(3)
    assert set(triggers(harness)) == {Trigger.FIRST}
    harness.source.errors.clear()
    await harness.advance(60)
    assert triggers(harness)[-1] is Trigger.FIRST
    assert isinstance(harness.events[-1], TokenRefreshed)


async def test_expired() -> None:
    """A token that expired during an outage."""
    harness = TokenHarness()
    _ = await harness.cache.token(KEY)
    harness.clock.advance(HOUR + 1)
    _ = await harness.cache.token(KEY)
    assert triggers(harness) == [Trigger.FIRST, Trigger.EXPIRED]


async def test_rejected() -> None:
    """A token that the bank refused; the next is due as usual."""
    harness = TokenHarness(policy=RefreshPolicy(min_interval=0.001))
    token = await harness.cache.token(KEY)
    harness.clock.advance(1)
    assert harness.cache.reject(token) is Reaction.DROPPED
    await harness.advance(HOUR)
    assert triggers(harness) == [Trigger.FIRST, Trigger.REJECTED, Trigger.DUE]


async def test_reload() -> None:
    """A token that verified changed credentials."""
    harness = TokenHarness()
    token = await harness.source.token(KEY)
    harness.cache.record_refresh(token, 0.25, Trigger.RELOAD)
    assert harness.events == [TokenRefreshed(token, 0.25, 3300, Trigger.RELOAD)]
    assert harness.cache.current(KEY) is token
