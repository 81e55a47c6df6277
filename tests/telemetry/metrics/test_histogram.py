"""Histograms: each observation in its bucket, and counted up as Prometheus wants it."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.metrics.histogram import BUCKETS, FINE_BUCKETS, Histogram


@pytest.mark.parametrize("bounds", [BUCKETS, FINE_BUCKETS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    """Bounds are in order and above nothing."""
    assert list(bounds) == sorted(set(bounds))
    assert bounds[0] > 0


def test_bounds_are_written_as_people_do() -> None:
    """No bound is in scientific notation, and the last is Prometheus's infinity."""
    bounds = [bound for bound, _ in Histogram(FINE_BUCKETS).cumulative()]
    assert bounds[:3] == ["0.0001", "0.00025", "0.0005"]
    assert bounds[-2:] == ["1.0", "+Inf"]


@given(st.lists(st.floats(min_value=0, max_value=1000)))
def test_each_bucket_holds_all_up_to_its_bound(values: list[float]) -> None:
    """An observation on a bound is within it; the last bucket holds everything."""
    held = Histogram()
    for value in values:
        held.observe(value)
    for bound, count in held.cumulative():
        assert count == sum(value <= float(bound) for value in values)
    assert held.total == pytest.approx(sum(values))


def test_counts_can_be_added_to_from_outside() -> None:
    """The request's way adds to the counts itself, and it comes to the same."""
    one, other = Histogram(), Histogram()
    one.observe(0.02)
    other.counts[bisect_left(other.bounds, 0.02)] += 1
    assert one.cumulative() == other.cumulative()
