"""Totals of requests, for the status page."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple, TypeVar

K = TypeVar("K")
Buckets = tuple[int, ...]

FAILED = ("caller", "token", "upstream", "proxy", "bank")
"""The sources of errors; ``bank`` is for its 5xx responses."""


class Totals(NamedTuple):
    """Requests since the start, and failed ones by source.

    ``total_buckets`` and ``proxy_buckets`` count their durations, and the time spent in the proxy,
    by bucket. ``institutions`` counts requests by institution, ``bank_responses`` those to which
    the bank responded; neither counts those whose caller left first.
    """

    requests: int = 0
    failed: Mapping[str, int] = dict.fromkeys(FAILED, 0)
    total_buckets: Buckets = ()
    proxy_buckets: Buckets = ()
    institutions: Mapping[str, int] = MappingProxyType({})
    bank_responses: int = 0

    def since(self, earlier: "Totals") -> "Totals":
        """Return the difference to ``earlier``."""
        return Totals(
            self.requests - earlier.requests,
            {source: count - earlier.failed[source] for source, count in self.failed.items()},
            _less(self.total_buckets, earlier.total_buckets),
            _less(self.proxy_buckets, earlier.proxy_buckets),
            less(self.institutions, earlier.institutions),
            self.bank_responses - earlier.bank_responses,
        )


def less(now: Mapping[K, int], before: Mapping[K, int]) -> dict[K, int]:
    """Return how much each count has grown, without those that have not."""
    grown = {key: count - before.get(key, 0) for key, count in now.items()}
    return {key: count for key, count in grown.items() if count}


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
