"""The registry with all collectors, and the exposition in both formats."""

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
from proxy.telemetry.events import Event
from proxy.telemetry.metrics.callbacks import CallbackCollector
from proxy.telemetry.metrics.connections import ConnectionCollector
from proxy.telemetry.metrics.families import gauge
from proxy.telemetry.metrics.lag import LoopLagCollector
from proxy.telemetry.metrics.reloads import ReloadCollector
from proxy.telemetry.metrics.requests import RequestCollector
from proxy.telemetry.metrics.token_store import StoreCollector
from proxy.telemetry.metrics.tokens import TokenCollector, TokenRequestCollector
from proxy.tokens.cache import Entry
from proxy.tokens.token import Instant


class Metrics:
    """The interface of the metrics for the rest of the program.

    ``request`` counts a finished request, and ``totals`` returns the totals. ``callbacks``
    registers metrics of other components, ``reloads`` has the certificates, ``store`` the
    callbacks of a token store; ``lag.run`` has to run as a task.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.callbacks = CallbackCollector()
        self.reloads = ReloadCollector()
        self.lag = LoopLagCollector()
        self.store = StoreCollector()
        self._connections = ConnectionCollector()
        self._tokens = TokenRequestCollector()
        requests = RequestCollector()
        self.request = requests.add
        self.totals = requests.totals
        for ours in (requests, self._tokens, self.reloads, self.callbacks, self.lag, _BuildInfo()):
            self.registry.register(ours)
        self.registry.register(self.store)
        self.registry.register(self._connections)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def register_tokens(
        self, entries: Callable[[], Iterable[Entry]], clock: Callable[[], Instant]
    ) -> None:
        """Register the collector of the tokens in use."""
        self.registry.register(TokenCollector(entries, clock))

    def event(self, event: Event) -> None:
        """Count an event."""
        self._tokens.add(event)
        self.reloads.add(event)
        self.store.add(event)
        self._connections.add(event)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics as text and the content type, in the format that ``accept`` names."""
        if "application/openmetrics-text" in accept:
            return generate_openmetrics(self.registry), OPENMETRICS  # type: ignore[no-untyped-call]  # the library has no types here
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _BuildInfo(Collector):
    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "build_info",
            "The running version; the value is always 1.",
            ("version", "python"),
            [((__version__, platform.python_version()), 1)],
        )
