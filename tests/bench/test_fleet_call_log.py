"""Records of a simulated fleet."""

import pytest

from bench.fleet.call_log import CallLog, figures, most_at_once
from bench.fleet.plan import Plan


def test_calls_are_counted_within_the_watched_period() -> None:
    """Refused ones separately, and by second."""
    log = CallLog(
        calls=[(0.5, True), (10.0, True), (10.9, False), (11.0, True), (19.9, True), (20.0, True)]
    )
    found = figures(Plan("x", pods=1, watched=(10.0, 20.0)), log)
    assert (found.calls, found.refused, found.worst_second) == (4, 1, 2)
    assert found.per_hour == pytest.approx(4 * 360)


def test_fleet_is_ready_when_the_last_is() -> None:
    """Otherwise it has no such time."""
    log = CallLog(ready=[3.0, 1.0, 2.0])
    assert figures(Plan("x", pods=3), log).ready_all == 3.0
    assert figures(Plan("x", pods=3), log).ready_half == 2.0
    assert figures(Plan("x", pods=4), log).ready_all is None


def test_recovery_time() -> None:
    """Zero if tokens were replaced before the end of the fault; none without a fault."""
    log = CallLog(gaps=[(10.0, 15.0), (12.0, 27.0)])
    down = Plan("x", pods=2, watched=(0.0, 60.0), bank_down=(5.0, 20.0))
    assert figures(down, log).recovered == 7.0
    assert figures(down, CallLog(gaps=[(10.0, 15.0)])).recovered == 0.0
    assert figures(Plan("x", pods=2), log).recovered is None
    assert figures(down, CallLog(gaps=[(10.0, 15.0), (12.0, 60.0)])).recovered is None


def test_most_expired_tokens_at_once() -> None:
    """Adjacent gaps do not overlap; other periods are cut off."""
    assert most_at_once([(0, 2), (1, 3), (2, 4)]) == 2
    assert most_at_once([]) == 0
    plan = Plan("x", pods=3, watched=(10.0, 20.0))
    gaps = CallLog(gaps=[(0.0, 11.0), (5.0, 12.0), (0.0, 9.0), (21.0, 22.0)])
    assert figures(plan, gaps).without == 2
