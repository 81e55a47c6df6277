"""Every series of the proxy in one registry, and their text in the two formats."""

import platform
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.telemetry.events import Fact
from proxy.telemetry.metrics.callbacks import Watched
from proxy.telemetry.metrics.families import gauge
from proxy.telemetry.metrics.lag import LoopLag
from proxy.telemetry.metrics.reloads import ChangeTally
from proxy.telemetry.metrics.requests import RequestTally
from proxy.telemetry.metrics.store import StoreTally
from proxy.telemetry.metrics.tokens import TokenGauges, TokenTally
from proxy.tokens.cache import Entry
from proxy.tokens.token import Moment


class Metrics:
    """What the rest of the program knows of metrics.

    ``request`` counts a finished request, and ``totals`` tells what it has counted.
    ``watched`` takes numbers that are kept elsewhere, ``changes`` knows the certificates, and
    ``lag`` has to be run; ``store`` is told where the fleet's store is, if there is one.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.watched = Watched()
        self.changes = ChangeTally()
        self.lag = LoopLag()
        self.store = StoreTally()
        self._tokens = TokenTally()
        requests = RequestTally()
        self.request = requests.add
        self.totals = requests.totals
        for ours in (requests, self._tokens, self.changes, self.watched, self.lag, _Build()):
            self.registry.register(ours)
        self.registry.register(self.store)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def watch_tokens(
        self, entries: Callable[[], Iterable[Entry]], clock: Callable[[], Moment]
    ) -> None:
        """Expose what is known of each key, as it is when somebody asks."""
        self.registry.register(TokenGauges(entries, clock))

    def fact(self, fact: Fact) -> None:
        """Count one event beside the requests."""
        self._tokens.add(fact)
        self.changes.add(fact)
        self.store.add(fact)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the series as text, and its content type, in the format asked for."""
        if "application/openmetrics-text" in accept:
            return generate_openmetrics(self.registry), OPENMETRICS  # type: ignore[no-untyped-call]  # the library has no types here
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Build(Collector):
    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "build_info",
            "The version that runs; the value is always 1.",
            ("version", "python"),
            [((__version__, platform.python_version()), 1)],
        )
