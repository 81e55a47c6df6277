"""The rate limit of token calls."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.rate_limit import BURST, TokenBucket, rate_for

RATES = st.floats(0.1, 1000)
STEPS = st.lists(st.floats(0, 3), min_size=1, max_size=200)


def begun(rate: float, steps: list[float]) -> list[tuple[float, int]]:
    """Take all permitted calls at each step; return when and how many."""
    allowance, now, taken = TokenBucket(), 0.0, []
    for step in steps:
        now += step
        allowance = allowance.refilled(now, rate)
        calls = int(allowance.calls)
        allowance = allowance.minus(calls)
        taken.append((now, calls))
    return taken


@given(RATES, STEPS)
def test_burst_and_rate_are_never_exceeded(rate: float, steps: list[float]) -> None:
    """In any interval."""
    taken = begun(rate, steps)
    for start in range(len(taken)):
        total, since = 0, taken[start][0]
        for now, calls in taken[start:]:
            total += calls
            assert total <= BURST + (now - since) * rate + 1e-6


@given(RATES, st.integers(1, 100))
def test_waiting_as_told_is_sufficient(rate: float, count: int) -> None:
    """Calls that wait for the returned time reach exactly the rate."""
    allowance, now, times = TokenBucket().minus(int(BURST)), 0.0, []
    for _ in range(count):
        now += allowance.until_next(rate)
        allowance = allowance.refilled(now, rate)
        assert allowance.calls > 1 - 1e-6
        allowance = allowance.minus(1)
        times.append(now)
    assert all(later - earlier <= 1.001 / rate for earlier, later in pairwise(times))


def test_clock_that_goes_back_costs_nothing() -> None:
    """The bucket does not become negative."""
    assert TokenBucket(2.0, 100.0).refilled(50.0, 20.0).calls == 2.0


def test_permitted_call_starts_at_once() -> None:
    """Its wait is zero."""
    assert TokenBucket().until_next(20.0) == 0.0


def test_short_lifetimes_raise_the_rate() -> None:
    """A thousand keys of half a minute need fifty calls a second; a hundred are permitted."""
    assert rate_for(20.0, 1000 / 20) == 100.0
    assert rate_for(20.0, 1000 / 3300) == 20.0
