"""Combines the samples of several rounds into figures: medians, percentiles, ratios."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Sample = Mapping[str, float]
"""Metric to value, of one measurement of one proxy."""
Round = Mapping[str, Sample]
"""Proxy to sample, of one round."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The median over the rounds; ``ratio`` is the median of the rounds' ratios to the yardstick.

    ``spread`` is half the difference of maximum and minimum, relative to the median.
    """

    value: float
    ratio: float | None
    spread: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile ``share`` (0 to 1)."""
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
