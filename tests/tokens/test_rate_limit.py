"""The pace: never more than its burst and its rate, and always what the keys need."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.rate_limit import BURST, TokenBucket, rate_for

RATES = st.floats(0.1, 1000)
STEPS = st.lists(st.floats(0, 3), min_size=1, max_size=200)


def begun(rate: float, steps: list[float]) -> list[tuple[float, int]]:
    """Take all that is allowed whenever somebody looks; return when, and how many."""
    allowance, now, taken = TokenBucket(), 0.0, []
    for step in steps:
        now += step
        allowance = allowance.refilled(now, rate)
        calls = int(allowance.calls)
        allowance = allowance.minus(calls)
        taken.append((now, calls))
    return taken


@given(RATES, STEPS)
def test_no_span_of_time_has_more_than_burst_and_rate(rate: float, steps: list[float]) -> None:
    """However one looks, between any two moments no more begin than that."""
    taken = begun(rate, steps)
    for start in range(len(taken)):
        total, since = 0, taken[start][0]
        for now, calls in taken[start:]:
            total += calls
            assert total <= BURST + (now - since) * rate + 1e-6


@given(RATES, st.integers(1, 100))
def test_whoever_waits_as_told_may_begin(rate: float, count: int) -> None:
    """Calls that wait for the time that they are told are at the rate, none of them in vain."""
    allowance, now, times = TokenBucket().minus(int(BURST)), 0.0, []
    for _ in range(count):
        now += allowance.until_next(rate)
        allowance = allowance.refilled(now, rate)
        assert allowance.calls > 1 - 1e-6
        allowance = allowance.minus(1)
        times.append(now)
    assert all(later - earlier <= 1.001 / rate for earlier, later in pairwise(times))


def test_clock_that_goes_back_takes_nothing_away() -> None:
    """A clock of another machine's, or a mistake of ours, is no debt."""
    assert TokenBucket(2.0, 100.0).refilled(50.0, 20.0).calls == 2.0


def test_what_is_allowed_may_begin_at_once() -> None:
    """Nobody waits for a call that is there."""
    assert TokenBucket().until_next(20.0) == 0.0


def test_lifetimes_of_seconds_get_what_they_need() -> None:
    """A thousand keys of half a minute take fifty calls a second, so a hundred are allowed."""
    assert rate_for(20.0, 1000 / 20) == 100.0
    assert rate_for(20.0, 1000 / 3300) == 20.0
