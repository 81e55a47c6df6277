"""Rates and durations of the last minute and the last quarter of an hour, from samples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.admin.document import Minute, Series
from proxy.errors import ErrorKind
from proxy.telemetry.metrics.histogram import BUCKETS, FINE_BUCKETS
from proxy.telemetry.metrics.totals import Buckets, Totals, quantile
from proxy.tokens.token import Instant

INTERVAL = 5.0
"""Seconds between two samples of the metrics' counters."""
INTERVALS = 180
"""Number of intervals in a quarter of an hour."""
MINUTE = 60.0
SAMPLES = 13
"""Number of samples in a minute, with the one at its start."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at a time; ``failures`` counts requests by kind of error and institution."""

    at: Instant
    totals: Totals
    failures: Mapping[tuple[ErrorKind, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interval:
    """The time between two samples: rates per second, failures by source, and durations."""

    at: float
    per_second: float
    failed: Mapping[str, float]
    p50_ms: float | None
    p99_ms: float | None


def minute_of(samples: Sequence[Sample]) -> tuple[Sample, Sample]:
    """Return the samples at the two ends of the last minute."""
    newest = samples[-1]
    return next(each for each in samples if seconds_between(each, newest) <= MINUTE), newest


def last_minute(samples: Sequence[Sample]) -> Minute:
    """Return the figures of the last minute, or of the time since the first sample."""
    oldest, newest = minute_of(samples)
    totals, seconds = newest.totals.since(oldest.totals), seconds_between(oldest, newest)
    return Minute(
        seconds=seconds,
        requests=totals.requests,
        per_second=_rate(totals.requests, seconds),
        caller=totals.failed["caller"],
        token=totals.failed["token"],
        upstream=totals.failed["upstream"],
        proxy=totals.failed["proxy"],
        bank=totals.failed["bank"],
        p50_ms=_quantile_ms(totals.total_buckets, 0.5),
        p99_ms=_quantile_ms(totals.total_buckets, 0.99),
        proxy_p50_ms=_quantile_ms(totals.proxy_buckets, 0.5, FINE_BUCKETS),
        proxy_p99_ms=_quantile_ms(totals.proxy_buckets, 0.99, FINE_BUCKETS),
    )


def interval_between(earlier: Sample, later: Sample) -> Interval:
    """Return the interval between two samples."""
    totals, seconds = later.totals.since(earlier.totals), seconds_between(earlier, later)
    return Interval(
        at=later.at.wall,
        per_second=_rate(totals.requests, seconds),
        failed={source: _rate(count, seconds) for source, count in totals.failed.items()},
        p50_ms=_quantile_ms(totals.total_buckets, 0.5),
        p99_ms=_quantile_ms(totals.total_buckets, 0.99),
    )


def series(steps: Iterable[Interval]) -> Series:
    """Return intervals as columns."""
    rows = [*steps]
    return Series(
        step=INTERVAL,
        at=[row.at for row in rows],
        per_second=[row.per_second for row in rows],
        caller=[row.failed["caller"] for row in rows],
        token=[row.failed["token"] for row in rows],
        upstream=[row.failed["upstream"] for row in rows],
        proxy=[row.failed["proxy"] for row in rows],
        bank=[row.failed["bank"] for row in rows],
        p50_ms=[row.p50_ms for row in rows],
        p99_ms=[row.p99_ms for row in rows],
    )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds > 0 else 0.0


def _quantile_ms(counts: Buckets, share: float, bounds: Sequence[float] = BUCKETS) -> float | None:
    seconds = quantile(bounds, counts, share)
    return None if seconds is None else _ms(seconds)


def seconds_between(earlier: Sample, later: Sample) -> float:
    """Return the time between two samples."""
    return later.at.monotonic - earlier.at.monotonic


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
