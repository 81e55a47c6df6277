"""What came in the last minute and in the last quarter of an hour, out of samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from proxy.admin.document import Minute, Series
from proxy.metrics.histogram import BUCKETS, FINE_BUCKETS
from proxy.metrics.totals import Buckets, Totals, quantile
from proxy.tokens.token import Moment

STEP = 5.0
"""Seconds between two samples of what the metrics have counted."""
SAMPLES = 181
"""A quarter of an hour of them, and the one it began with."""
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What had been counted at a moment."""

    at: Moment
    totals: Totals


def last_minute(samples: Sequence[Sample]) -> Minute:
    """Add up what came in the last minute, or in as much of it as is known."""
    newest = samples[-1]
    oldest = next(each for each in samples if _between(each, newest) <= MINUTE)
    came, seconds = newest.totals.since(oldest.totals), _between(oldest, newest)
    return Minute(
        seconds=seconds,
        requests=came.requests,
        per_second=_rate(came.requests, seconds),
        caller=came.failed["caller"],
        token=came.failed["token"],
        upstream=came.failed["upstream"],
        proxy=came.failed["proxy"],
        bank=came.failed["bank"],
        p50_ms=_quantile_ms(came.whole, 0.5),
        p99_ms=_quantile_ms(came.whole, 0.99),
        own_p50_ms=_quantile_ms(came.own, 0.5, FINE_BUCKETS),
        own_p99_ms=_quantile_ms(came.own, 0.99, FINE_BUCKETS),
    )


def series(samples: Sequence[Sample]) -> Series:
    """Return what came between each two samples."""
    steps = [
        (later.at.wall, later.totals.since(earlier.totals), _between(earlier, later))
        for earlier, later in pairwise(samples)
    ]
    return Series(
        step=STEP,
        at=[at for at, _, _ in steps],
        per_second=[_rate(came.requests, seconds) for _, came, seconds in steps],
        caller=[_rate(came.failed["caller"], seconds) for _, came, seconds in steps],
        token=[_rate(came.failed["token"], seconds) for _, came, seconds in steps],
        upstream=[_rate(came.failed["upstream"], seconds) for _, came, seconds in steps],
        proxy=[_rate(came.failed["proxy"], seconds) for _, came, seconds in steps],
        bank=[_rate(came.failed["bank"], seconds) for _, came, seconds in steps],
        p50_ms=[_quantile_ms(came.whole, 0.5) for _, came, _ in steps],
        p99_ms=[_quantile_ms(came.whole, 0.99) for _, came, _ in steps],
    )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds > 0 else 0.0


def _quantile_ms(counts: Buckets, share: float, bounds: Sequence[float] = BUCKETS) -> float | None:
    seconds = quantile(bounds, counts, share)
    return None if seconds is None else _ms(seconds)


def _between(earlier: Sample, later: Sample) -> float:
    return later.at.monotonic - earlier.at.monotonic


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
