"""What has been counted of requests, in the few numbers that the status page plots."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

Buckets = tuple[int, ...]


FAILED = ("caller", "token", "upstream", "proxy", "bank")
"""Whose error an answer may be; ``bank`` stands for its 5xx."""


class Totals(NamedTuple):
    """Requests since the start, and how many failed, by whose error.

    ``total_buckets`` and ``proxy_buckets`` are their durations, and the proxy's own part, by
    bucket.
    """

    requests: int = 0
    failed: Mapping[str, int] = dict.fromkeys(FAILED, 0)
    total_buckets: Buckets = ()
    proxy_buckets: Buckets = ()

    def since(self, earlier: "Totals") -> "Totals":
        """Return what has come since ``earlier``."""
        return Totals(
            self.requests - earlier.requests,
            {source: count - earlier.failed[source] for source, count in self.failed.items()},
            _less(self.total_buckets, earlier.total_buckets),
            _less(self.proxy_buckets, earlier.proxy_buckets),
        )


def _less(now: Buckets, before: Buckets) -> Buckets:
    return tuple(a - b for a, b in zip(now, before, strict=True)) if before else now


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return the time, in seconds, within which ``share`` of the requests were done; None of none.

    The last of ``counts`` is of what was above every bound. Within a bucket the requests are taken
    to be spread evenly; above the last bound nothing is known, so that bound is returned.
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
