"""Why the bank is asked for a token: what the facts say, one cause after another."""

from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, Trigger
from proxy.tokens.token import RefreshPolicy
from tests.tokens.harness import HOUR, KEY, Bench, failure


def triggers(bench: Bench) -> list[Trigger]:
    """Return the trigger of each token request so far, whatever came of it."""
    asked = (TokenRefreshed, TokenRefreshFailed)
    return [fact.trigger for fact in bench.facts if isinstance(fact, asked)]


async def test_first_token_and_the_one_that_is_due() -> None:
    """A key without a token wants its first; ahead of its end a token is due."""
    bench = Bench()
    bench.cache.pin(KEY)
    await bench.pass_by(HOUR)
    assert triggers(bench) == [Trigger.FIRST, Trigger.DUE]


async def test_failed_request_keeps_its_trigger() -> None:
    """What is tried again is still the first, until there is a token."""
    bench = Bench()
    bench.cache.pin(KEY)
    bench.teller.fail(failure())
    await bench.pass_by(3)
    assert set(triggers(bench)) == {Trigger.FIRST}
    bench.teller.errors.clear()
    await bench.pass_by(60)
    assert triggers(bench)[-1] is Trigger.FIRST
    assert isinstance(bench.facts[-1], TokenRefreshed)


async def test_expired() -> None:
    """A token that died while the bank was down is asked for as expired, no longer as due."""
    bench = Bench()
    _ = await bench.cache.token(KEY)
    bench.clock.turn(HOUR + 1)
    _ = await bench.cache.token(KEY)
    assert triggers(bench) == [Trigger.FIRST, Trigger.EXPIRED]


async def test_rejected() -> None:
    """A token that the bank refused is missing for that; the next one is due like any other."""
    bench = Bench(policy=RefreshPolicy(min_interval=0.001))
    token = await bench.cache.token(KEY)
    bench.clock.turn(1)
    assert bench.cache.reject(token)
    await bench.pass_by(HOUR)
    assert triggers(bench) == [Trigger.FIRST, Trigger.REJECTED, Trigger.DUE]


async def test_renewed_from_elsewhere() -> None:
    """A token that changed credentials were tried with is told as such, and used."""
    bench = Bench()
    token = await bench.teller.token(KEY)
    bench.cache.record_refresh(token, 0.25, Trigger.RELOAD)
    assert bench.facts == [TokenRefreshed(token, 0.25, 3300, Trigger.RELOAD)]
    assert bench.cache.current(KEY) is token
