"""Rates of the last minute and quarter of an hour, from samples."""

from itertools import pairwise

import pytest

from proxy.admin.document import Series
from proxy.admin.rates import Sample, interval_between, last_minute, series
from proxy.telemetry.metrics.histogram import BUCKETS, FINE_BUCKETS
from proxy.telemetry.metrics.totals import FAILED, Totals
from proxy.tokens.token import Instant


def columns(*samples: Sample) -> Series:
    """Return the differences of consecutive samples."""
    return series([interval_between(earlier, later) for earlier, later in pairwise(samples)])


def sample(at: float, requests: int, bank: int = 0, wall: float = 0.0) -> Sample:
    """Return the totals at ``at`` monotonic seconds; each request took 2 ms."""
    whole, own = [0] * (len(BUCKETS) + 1), [0] * (len(FINE_BUCKETS) + 1)
    whole[2] = requests  # up to 2.5 ms
    own[0] = requests  # up to 0.1 ms
    failed = dict.fromkeys(FAILED, 0) | {"bank": bank}
    totals = Totals(requests, failed, tuple(whole), tuple(own)) if requests else Totals()
    return Sample(Instant(at, wall or 1_800_000_000.0 + at), totals)


def test_minute() -> None:
    """Earlier requests do not count."""
    found = last_minute([sample(0, 0), sample(40, 1000), sample(50, 1300), sample(100, 1600, 30)])
    assert (found.seconds, found.requests, found.bank) == (60, 600, 30)
    assert found.per_second == 10
    assert found.p50_ms == pytest.approx(1.75)
    assert found.proxy_p99_ms == pytest.approx(0.099)


def test_less_than_a_minute() -> None:
    """The rate is of the known seconds."""
    found = last_minute([sample(0, 0), sample(4, 100)])
    assert (found.seconds, found.per_second) == (4, 25)


def test_single_sample_has_no_rate() -> None:
    """There is no division by zero."""
    found = last_minute([sample(7, 100)])
    assert (found.seconds, found.requests, found.per_second, found.p50_ms) == (0, 0, 0, None)


def test_columns() -> None:
    """One for each pair of samples, empty without requests."""
    found = columns(sample(0, 0), sample(5, 50, 10), sample(10, 50, 10))
    assert found.at == [1_800_000_005.0, 1_800_000_010.0]
    assert (found.per_second, found.bank, found.caller) == ([10, 0], [2, 0], [0, 0])
    assert found.p50_ms == [pytest.approx(1.75), None]


def test_clock_that_is_set_back() -> None:
    """Rates use the monotonic clock."""
    found = columns(sample(0, 0, wall=5_000.0), sample(5, 50, wall=1_000.0))
    assert (found.at, found.per_second) == ([1_000.0], [10])


def test_no_columns_before_the_second_sample() -> None:
    """The list is empty."""
    assert columns(sample(0, 0)).at == []
