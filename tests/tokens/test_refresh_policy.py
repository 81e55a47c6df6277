"""Refresh times and back-off, for every lifetime and any chance."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import TokenFailure, kinds
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import MAX_LIFETIME

HOUR = 3600.0
DEFAULT = RefreshPolicy()

ROUNDING = 1e-6

lifetimes = st.floats(1, MAX_LIFETIME)
chances = st.floats(0, 1, exclude_max=True)
failures = st.integers(1, 10_000)
margins = st.floats(0.1, 1e6)
fractions = st.floats(0, 0.5)


@st.composite
def policies(draw: st.DrawFn) -> RefreshPolicy:
    """Draw any valid policy."""
    smallest, largest = sorted((draw(margins), draw(margins)))
    return RefreshPolicy(
        margin_min=smallest,
        margin_max=largest,
        margin_fraction=draw(fractions),
        jitter_fraction=draw(fractions),
        jitter_max=draw(margins),
        min_interval=draw(margins),
    )


@given(policies(), lifetimes, chances)
@example(RefreshPolicy(jitter_fraction=0.5, jitter_max=1e6), 60.0, 0.0)
@example(RefreshPolicy(margin_fraction=0.5, margin_max=1e6), 60.0, 0.0)
def test_refresh_is_in_the_second_half_of_a_lifetime(
    policy: RefreshPolicy, lifetime: float, chance: float
) -> None:
    """For any settings, and before expiry."""
    age = policy.refresh_age(lifetime, chance)
    assert lifetime / 2 <= age < lifetime


@given(lifetimes, chances)
def test_default_policy_is_the_documented_one(lifetime: float, chance: float) -> None:
    """Expiry less a fifth (60 to 300 s), not before half; up to a tenth earlier."""
    age = DEFAULT.refresh_age(lifetime, chance)
    margin = max(60, min(300, lifetime / 5))
    spread = min(lifetime / 10, 60)
    assert age <= max(lifetime - margin, lifetime / 2 + spread)
    assert age >= max(lifetime - margin - spread, lifetime / 2) - 1e-6


@pytest.mark.parametrize(
    ("lifetime", "age"),
    [
        *((1, 0.6), (8, 4.8), (60, 36), (120, 72), (300, 240), (1799, 1499), (3600, 3300)),
        (MAX_LIFETIME, MAX_LIFETIME - 300),
    ],
)
def test_latest_refresh_of_usual_lifetimes(lifetime: float, age: float) -> None:
    """Minutes get the margin, seconds slightly more than half."""
    assert DEFAULT.refresh_age(lifetime, 0) == pytest.approx(age)


@given(lifetimes)
def test_refreshes_are_spaced(lifetime: float) -> None:
    """By ten seconds, or half of a lifetime below twenty."""
    assert DEFAULT.refresh_age(lifetime, 0.999999) >= min(10, lifetime / 2)


@given(lifetimes, st.lists(chances, min_size=2, max_size=50, unique=True))
def test_jitter_spreads_a_fleet(lifetime: float, drawn: list[float]) -> None:
    """In proportion to chance."""
    ages = [DEFAULT.refresh_age(lifetime, chance) for chance in sorted(drawn)]
    spread = min(lifetime / 10, 60)
    assert ages == sorted(ages, reverse=True)
    assert ages[0] - ages[-1] == pytest.approx((max(drawn) - min(drawn)) * spread, abs=1e-6)


@given(failures, chances)
def test_back_off_doubles_under_full_jitter(count: int, chance: float) -> None:
    """1 s doubling to 60 s, never zero."""
    delay = DEFAULT.retry_delay(kinds.TOKEN_SERVER, count, chance)
    step = min(2.0 ** min(count - 1, 60), 60)
    assert delay == pytest.approx(max(chance * step, 0.1))


@given(failures, chances)
def test_throttling_waits_longer(count: int, chance: float) -> None:
    """10 s doubling to 300 s, at least half of it."""
    delay = DEFAULT.retry_delay(kinds.TOKEN_THROTTLED, count, chance)
    step = min(10 * 2.0 ** min(count - 1, 60), 300)
    assert step / 2 <= delay <= step


@given(failures, chances, st.floats(0, 100))
def test_throttled_start_is_spread_over_twice_the_time(
    count: int, chance: float, asked: float
) -> None:
    """Over the whole of it."""
    delay = DEFAULT.retry_delay(kinds.TOKEN_THROTTLED, count, chance, asked, first=True)
    step = min(20 * 2.0 ** min(count - 1, 60), 300)
    assert delay == pytest.approx(max(asked, 2.5) + chance * step)


@given(chances)
def test_start_is_spread_as_configured(chance: float) -> None:
    """By default not at all."""
    assert DEFAULT.start_delay(chance) == 0
    assert RefreshPolicy(start_spread=60).start_delay(chance) == chance * 60


@given(st.sampled_from(kinds.TOKEN_FAILURES), failures, chances, st.floats(0, 1e9))
def test_retry_after_is_a_lower_bound(
    reason: TokenFailure, count: int, chance: float, asked: float
) -> None:
    """For any reason, up to an hour."""
    delay = DEFAULT.retry_delay(reason, count, chance, asked)
    assert delay >= min(asked, 3600)
    assert delay <= max(min(asked, 3600), 60) + 300


@given(st.sampled_from(kinds.TOKEN_FAILURES), failures, chances)
def test_every_failure_has_a_bounded_back_off(
    reason: TokenFailure, count: int, chance: float
) -> None:
    """Never zero and never endless."""
    assert 0.1 <= DEFAULT.retry_delay(reason, count, chance) <= 300


@pytest.mark.parametrize("reason", [kind for kind in kinds.TOKEN_FAILURES if kind.is_refusal])
def test_refusal_is_remembered_for_a_minute(reason: TokenFailure) -> None:
    """At the first and every later time."""
    assert [DEFAULT.retry_delay(reason, count, 0.5) for count in (1, 2, 50)] == [60, 60, 60]


def test_first_refusals_of_a_start_are_tried_sooner() -> None:
    """The bank may be starting too; but a user may be locked out."""
    for reason, delays in (
        (kinds.TOKEN_BAD_CLIENT, [10, 20, 40, 60, 60]),
        (kinds.TOKEN_BAD_USER, [60, 60, 60, 60, 60]),
    ):
        counts = range(1, 6)
        assert [DEFAULT.retry_delay(reason, n, 0.5, first=True) for n in counts] == delays
    assert DEFAULT.retry_delay(kinds.TOKEN_BAD_CLIENT, 1, 0.5, 30, first=True) == 30


def test_retry_after_is_spread() -> None:
    """Proxies with the same value retry at different times."""
    for reason in (kinds.TOKEN_SERVER, kinds.TOKEN_THROTTLED):
        reported = {DEFAULT.retry_delay(reason, 5, chance / 10, 30) for chance in range(10)}
        assert len(reported) == 10


@given(st.floats(0, 300), chances)
def test_shared_failure_is_retried_after_the_fleets_wait(wait: float, chance: float) -> None:
    """Up to a second later, so that the proxies do not all read the store at once."""
    assert wait <= DEFAULT.shared_delay(wait, chance) <= wait + 1


@pytest.mark.parametrize(
    ("lifetime", "unhelpful", "pause"),
    [(HOUR, 0, 10), (HOUR, 1, 20), (HOUR, 4, 160), (HOUR, 5, 300), (HOUR, 9999, 300), (4, 1, 4)],
)
def test_pause_after_a_replaced_token_doubles(
    lifetime: float, unhelpful: int, pause: float
) -> None:
    """From ten seconds, or half of a short lifetime, to five minutes."""
    assert DEFAULT.rejection_pause(lifetime, unhelpful) == pause


def test_longest_pause_is_not_below_the_first() -> None:
    """Whatever is configured."""
    assert RefreshPolicy(min_interval=20, max_interval=5).rejection_pause(HOUR, 3) == 20
