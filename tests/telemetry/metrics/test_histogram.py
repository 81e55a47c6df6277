"""Histograms: buckets, cumulative as in Prometheus."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.metrics.histogram import BUCKETS, FINE_BUCKETS, Histogram


@pytest.mark.parametrize("bounds", [BUCKETS, FINE_BUCKETS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    """And are positive."""
    assert list(bounds) == sorted(set(bounds))
    assert bounds[0] > 0


def test_bounds_are_plain_decimals() -> None:
    """The last is +Inf."""
    bounds = [bound for bound, _ in Histogram(FINE_BUCKETS).cumulative()]
    assert bounds[:3] == ["0.0001", "0.00025", "0.0005"]
    assert bounds[-2:] == ["1.0", "+Inf"]


@given(st.lists(st.floats(min_value=0, max_value=1000)))
def test_buckets_are_cumulative(values: list[float]) -> None:
    """A bound is inclusive; the last bucket has all."""
    held = Histogram()
    for value in values:
        held.observe(value)
    for bound, count in held.cumulative():
        assert count == sum(value <= float(bound) for value in values)
    assert held.total == pytest.approx(sum(values))


def test_counts_can_be_incremented_directly() -> None:
    """As the forwarding path does."""
    one, other = Histogram(), Histogram()
    one.observe(0.02)
    other.counts[bisect_left(other.bounds, 0.02)] += 1
    assert one.cumulative() == other.cumulative()
