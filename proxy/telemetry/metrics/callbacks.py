"""Metrics that are read from other components at a scrape."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.metrics.families import Values, counter, gauge

Read = Callable[[], float]
ReadAll = Callable[[], Values]


class CallbackCollector(Collector):
    """Gauges and counters, each with a function that reads it."""

    def __init__(self) -> None:
        self._gauges: list[tuple[str, str, tuple[str, ...], ReadAll]] = []
        self._counters: list[tuple[str, str, tuple[str, ...], ReadAll]] = []

    def gauge(self, name: str, text: str, read: Read) -> None:
        """Register a gauge."""
        self.gauges(name, text, (), lambda: [((), read())])

    def gauges(self, name: str, text: str, labels: tuple[str, ...], read: ReadAll) -> None:
        """Register a gauge with labels."""
        self._gauges.append((name, text, labels, read))

    def counter(self, name: str, text: str, read: Read) -> None:
        """Register a counter; ``_total`` is appended to its name."""
        self.counters(name, text, (), lambda: [((), read())])

    def counters(self, name: str, text: str, labels: tuple[str, ...], read: ReadAll) -> None:
        """Register a counter with labels."""
        self._counters.append((name, text, labels, read))

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        for name, text, labels, read_all in self._gauges:
            yield gauge(name, text, labels, read_all())
        for name, text, labels, read_all in self._counters:
            yield counter(name, text, labels, read_all())
