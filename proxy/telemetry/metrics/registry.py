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

_END = b"# EOF\n"


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
        """Return the metrics and the content type that ``accept`` names."""
        families, content_type = self.families(accept)
        return b"".join(families), content_type

    def families(self, accept: str) -> tuple[Iterator[bytes], str]:
        """Return the text of one family after the other, and the content type.

        Other work may be done between two families: with hundreds of institutions, all of them
        take the time of a hundred requests.
        """
        if "application/openmetrics-text" in accept:
            return self._openmetrics(), OPENMETRICS
        families = map(_Family, self.registry.collect())
        return (generate_latest(family) for family in families), CONTENT_TYPE_LATEST

    def _openmetrics(self) -> Iterator[bytes]:
        for family in map(_Family, self.registry.collect()):
            text: bytes = generate_openmetrics(family)  # type: ignore[no-untyped-call]  # the library has no types here
            yield text.removesuffix(_END)
        yield _END


class _Family(CollectorRegistry):
    """A registry with one family."""

    def __init__(self, family: Metric) -> None:
        super().__init__()
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """Yield it."""
        yield self._family


class _BuildInfo(Collector):
    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "build_info",
            "The running version; the value is always 1.",
            ("version", "python"),
            [((__version__, platform.python_version()), 1)],
        )
