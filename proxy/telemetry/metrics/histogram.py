"""A histogram as plain numbers."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

BUCKETS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
"""Bounds in seconds, for whole requests and waits."""

FINE_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
"""Bounds in seconds, for the time spent in the proxy."""


class Histogram:
    """Counts by bucket: ``counts[n]`` is for values above ``bounds[n - 1]`` up to ``bounds[n]``.

    The last bucket has no upper bound. ``RequestCollector`` adds to ``counts`` and ``total``
    directly.
    """

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return cumulative counts by bound, in Prometheus's notation: ``0.5``, ``+Inf``."""
        return list(zip((*map(str, self.bounds), "+Inf"), accumulate(self.counts), strict=True))
