"""PURE: what the metrics have counted, as the few numbers that the status page plots."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

REQUESTS = "candescent_proxy_requests_total"
DURATION = "candescent_proxy_request_duration_seconds_bucket"


class Reading(Protocol):
    """One number of a series, as the metrics library gives it."""

    @property
    def name(self) -> str:
        """Of the series."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Of the series."""

    @property
    def value(self) -> float:
        """The number."""


class Family(Protocol):
    """The series of one metric."""

    @property
    def samples(self) -> Sequence[Reading]:
        """One for each set of labels."""


class Totals(NamedTuple):
    """Requests since the start, by whose error; ``bank`` are its 5xx answers.

    ``buckets`` are durations, cumulative as in the metric: (upper bound in seconds, count).
    """

    requests: int = 0
    caller: int = 0
    token: int = 0
    upstream: int = 0
    proxy: int = 0
    bank: int = 0
    buckets: tuple[tuple[float, int], ...] = ()

    def since(self, earlier: "Totals") -> "Totals":
        """Return what has come since ``earlier``."""
        before = dict(earlier.buckets)
        counts = (a - b for a, b in zip(self[:6], earlier[:6], strict=True))
        buckets = tuple((bound, count - before.get(bound, 0)) for bound, count in self.buckets)
        return Totals(*counts, buckets)


def totals(families: Iterable[Family]) -> Totals:
    """Add up the series of requests."""
    counts = dict.fromkeys(("none", "caller", "token", "upstream", "proxy", "bank"), 0.0)
    requests = 0.0
    buckets: dict[float, float] = {}
    for family in families:
        for reading in family.samples:
            if reading.name == REQUESTS:
                requests += reading.value
                source = reading.labels["error_source"]
                if source == "none" and reading.labels["status"].startswith("5"):
                    source = "bank"
                counts[source] += reading.value
            elif reading.name == DURATION:
                bound = float(reading.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + reading.value
    return Totals(
        int(requests),
        *(int(counts[name]) for name in ("caller", "token", "upstream", "proxy", "bank")),
        tuple(sorted((bound, int(count)) for bound, count in buckets.items())),
    )


def quantile(buckets: Sequence[tuple[float, int]], share: float) -> float | None:
    """Return the time, in seconds, within which ``share`` of the requests were done; None of none.

    Within a bucket the requests are taken to be spread evenly; beyond the last bound nothing is
    known, so that bound is returned.
    """
    wanted = share * (buckets[-1][1] if buckets else 0)
    low, below = 0.0, 0
    for bound, count in buckets:
        if wanted and count >= wanted:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return None
