"""Totals of requests, for the status page."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

Buckets = tuple[int, ...]


FAILED = ("caller", "token", "upstream", "proxy", "bank")
"""The sources of errors; ``bank`` is for its 5xx responses."""


class Totals(NamedTuple):
    """Requests since the start, and failed ones by source.

    ``total_buckets`` and ``proxy_buckets`` count their durations, and the time spent in the proxy,
    by bucket.
    """

    requests: int = 0
    failed: Mapping[str, int] = dict.fromkeys(FAILED, 0)
    total_buckets: Buckets = ()
    proxy_buckets: Buckets = ()

    def since(self, earlier: "Totals") -> "Totals":
        """Return the difference to ``earlier``."""
        return Totals(
            self.requests - earlier.requests,
            {source: count - earlier.failed[source] for source, count in self.failed.items()},
            _less(self.total_buckets, earlier.total_buckets),
            _less(self.proxy_buckets, earlier.proxy_buckets),
        )


def _less(now: Buckets, before: Buckets) -> Buckets:
    return tuple(a - b for a, b in zip(now, before, strict=True)) if before else now


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return a quantile of durations in seconds; None without requests.

    The last of ``counts`` is for values above all bounds, for which the last bound is returned.
    Within a bucket, values are assumed to be evenly distributed.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    low, below = 0.0, 0
    for bound, count in zip(bounds, accumulate(counts), strict=False):
        if count >= rank:
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low
