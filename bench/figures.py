"""Medians, percentiles, ratios: samples of several rounds made into one figure each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Sample = Mapping[str, float]
"""Metric to value, as one measurement of one proxy gave them."""
Round = Mapping[str, Sample]
"""Proxy to sample: what was measured in turn, and may be compared."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The median over the rounds; ``ratio`` the median of each round's ratio to the yardstick.

    ``spread`` is half of what lies between the least and the most, as a share of the median.
    """

    value: float
    ratio: float | None
    spread: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is not exceeded by ``share`` of all."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def summary(rounds: Sequence[Round], yardstick: str) -> dict[str, dict[str, Figure]]:
    """Return proxy to metric to figure."""
    peers = {name: None for one in rounds for name in one}  # a set that keeps its order
    return {
        peer: {
            metric: _figure(rounds, peer, metric, yardstick)
            for metric in next(one[peer] for one in rounds if peer in one)
        }
        for peer in peers
    }


def _figure(rounds: Sequence[Round], peer: str, metric: str, yardstick: str) -> Figure:
    values = [one[peer][metric] for one in rounds if peer in one]
    ratios = [
        one[peer][metric] / one[yardstick][metric]
        for one in rounds
        if one.get(yardstick, {}).get(metric) and peer in one
    ]
    middle = median(values)
    spread = (max(values) - min(values)) / 2 / middle if middle else 0.0
    return Figure(middle, median(ratios) if ratios else None, spread)
