"""Sends the metrics to an OpenTelemetry collector (OTLP over HTTP), for jobs that end unscraped.

Imported only if ``metrics.endpoint`` is set; needs ``candescent-proxy[otel]``. The series are those
of the exposition, under the same names: OpenTelemetry's own bridges go the other way.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric as Family
from prometheus_client.samples import Sample

from proxy import __version__
from proxy.tasks import in_thread

FLUSH = 2.0
"""Seconds to send the last values at shutdown."""

_CUMULATIVE = AggregationTemporality.CUMULATIVE


class MetricsPush:
    """Sends the families every ``interval`` seconds, and at the end.

    The SDK's own variables (``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, headers and
    timeout of the exporter) apply. A collector that fails costs a warning in the log.
    """

    def __init__(
        self, endpoint: str, interval: float, collect: Callable[[], Iterable[Family]]
    ) -> None:
        self._interval = interval
        self._collect = collect
        self._exporter = OTLPMetricExporter(endpoint)
        self._sending = threading.Lock()
        self._started = time.time_ns()
        named = OTELResourceDetector().detect().attributes
        self._resource = Resource.create(
            {
                "service.name": "candescent-proxy",
                "service.version": __version__,
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
                **named,
            }
        )

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            if not self._sending.locked():  # a slow collector misses values
                await self._send(self._interval)

    async def close(self) -> None:
        """Send the last values, for at most ``FLUSH`` seconds."""
        await self._send(FLUSH)

    async def _send(self, seconds: float) -> None:
        """Send the values of now on a thread; wait for it at most so long."""
        metrics = to_otlp(self._collect(), self._started, time.time_ns())
        scope = InstrumentationScope("candescent-proxy", __version__)
        data = MetricsData(
            [ResourceMetrics(self._resource, [ScopeMetrics(scope, metrics, "")], "")]
        )

        def export() -> None:
            with self._sending:
                self._exporter.export(data)

        with suppress(TimeoutError):
            await in_thread(export, seconds)


def to_otlp(families: Iterable[Family], started: int, now: int) -> list[Metric]:
    """Return Prometheus families as OTLP metrics; times are Unix nanoseconds.

    Counters keep ``_total`` in their names, which Prometheus and collectors do not add again.
    """
    return [_metric(family, started, now) for family in families if family.samples]


def _metric(family: Family, started: int, now: int) -> Metric:
    if family.type == "histogram":
        return Metric(family.name, family.documentation, "", _histogram(family, started, now))
    if family.type == "counter":
        samples = [one for one in family.samples if one.name.endswith("_total")]
        points = [_point(one, started, now) for one in samples]
        total = Sum(points, _CUMULATIVE, is_monotonic=True)
        return Metric(f"{family.name}_total", family.documentation, "", total)
    points = [_point(one, started, now) for one in family.samples]
    return Metric(family.name, family.documentation, "", Gauge(points))


def _point(sample: Sample, started: int, now: int) -> NumberDataPoint:
    return NumberDataPoint(sample.labels, started, now, float(sample.value))


def _histogram(family: Family, started: int, now: int) -> Histogram:
    """Return a histogram: buckets are cumulative in Prometheus, and single in OTLP."""
    series: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        series.setdefault(labels, []).append(sample)
    points = [
        _histogram_point(dict(labels), samples, started, now) for labels, samples in series.items()
    ]
    return Histogram(points, _CUMULATIVE)


def _histogram_point(
    labels: dict[str, str], samples: list[Sample], started: int, now: int
) -> HistogramDataPoint:
    buckets = [one for one in samples if one.name.endswith("_bucket")]
    cumulative = [int(one.value) for one in buckets]
    counts = [after - before for before, after in zip([0, *cumulative], cumulative, strict=False)]
    total = next((one.value for one in samples if one.name.endswith("_sum")), 0.0)
    return HistogramDataPoint(
        attributes=labels,
        start_time_unix_nano=started,
        time_unix_nano=now,
        count=cumulative[-1],
        sum=float(total),
        bucket_counts=counts,
        explicit_bounds=[float(one.labels["le"]) for one in buckets[:-1]],
        min=None,  # type: ignore[arg-type]  # optional in the protocol, and not known
        max=None,  # type: ignore[arg-type]  # the same
    )
