"""Builds Prometheus metric families from plain numbers, with a common prefix."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar

from proxy.telemetry.metrics.histogram import Histogram

PREFIX = "candescent_proxy_"

Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float]]
"""The values of the labels, in order, and the number."""


def counter(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    """Return a counter; ``_total`` is appended to its name."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def gauge(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    """Return a gauge."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def histogram(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[Labels, Histogram]],
    exemplar: Callable[[Labels, int], Exemplar | None] = lambda _key, _at: None,
) -> Metric:
    """Return a histogram; ``exemplar`` returns the exemplar of a key's bucket, or None."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for key, counts in values:
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for at, (bound, count) in enumerate(counts.cumulative()):
            example = exemplar(key, at)
            buckets.append((bound, count) if example is None else (bound, count, example))
        family.add_metric(key, buckets, counts.total)
    return family
