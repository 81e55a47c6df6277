"""Numbers that somebody else keeps, read when they are asked for."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.metrics.families import Values, counter, gauge

Read = Callable[[], float]
ReadAll = Callable[[], Values]


class CallbackCollector(Collector):
    """Gauges and counters, each read by a function of its own."""

    def __init__(self) -> None:
        self._gauges: list[tuple[str, str, Read]] = []
        self._counters: list[tuple[str, str, tuple[str, ...], ReadAll]] = []

    def gauge(self, name: str, text: str, read: Read) -> None:
        """Expose a number that goes up and down."""
        self._gauges.append((name, text, read))

    def counter(self, name: str, text: str, read: Read) -> None:
        """Expose a number that only grows; ``_total`` is put behind its name."""
        self.counters(name, text, (), lambda: [((), read())])

    def counters(self, name: str, text: str, labels: tuple[str, ...], read: ReadAll) -> None:
        """Expose several such numbers, by the values of ``labels``."""
        self._counters.append((name, text, labels, read))

    def collect(self) -> Iterator[Metric]:
        """Make the series."""
        for name, text, read in self._gauges:
            yield gauge(name, text, (), [((), read())])
        for name, text, labels, read_all in self._counters:
            yield counter(name, text, labels, read_all())
