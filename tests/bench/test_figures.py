"""Figures from samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Figure, percentile, summary


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_percentile_is_a_value_with_its_share_below(values: list[float], share: float) -> None:
    """It is one of the values."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_percentile_of_a_thousand() -> None:
    """p99.9 of a thousand different values is the greatest."""
    values = [float(number) for number in range(1000)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (500, 990)
    assert percentile(values, 0.999) == 999


def test_ratio_is_taken_within_a_round() -> None:
    """A slow round changes no ratio."""
    rounds = [
        {"ours": {"cpu": 9.0 * slow}, "envoy": {"cpu": 10.0 * slow}} for slow in (1.0, 3.0, 1.1)
    ]
    figures = summary(rounds, "envoy")
    assert figures["ours"]["cpu"].ratio == pytest.approx(0.9)
    assert figures["ours"]["cpu"].value == pytest.approx(9.9)
    assert figures["envoy"]["cpu"].ratio == 1
    assert figures["envoy"]["cpu"].spread == pytest.approx(10 / 11)


def test_missing_sample_is_left_out() -> None:
    """Without the reference there is no ratio."""
    rounds = [{"ours": {"cpu": 1.0}}, {"ours": {"cpu": 2.0}, "envoy": {"cpu": 1.0}}]
    assert summary(rounds, "envoy")["ours"]["cpu"] == Figure(1.5, 2.0, 0.5 / 1.5)
    assert summary(rounds[:1], "envoy")["ours"]["cpu"].ratio is None
    assert summary([{"ours": {"n": 0.0}, "envoy": {"n": 0.0}}], "envoy")["ours"]["n"].ratio is None
