"""Metrics of the token store."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.events import Event
from proxy.telemetry.metrics.families import Labels, counter, gauge, histogram
from proxy.telemetry.metrics.histogram import Histogram
from proxy.telemetry.metrics.tokens import KEY_LABELS, key_labels
from proxy.tokens.fleet.events import (
    AcquisitionSource,
    DecryptFailed,
    StoreOperation,
    TokenAcquired,
)

_TIMED_SOURCES = frozenset(
    {AcquisitionSource.SHARED, AcquisitionSource.DIRECT, AcquisitionSource.REFUSED}
)


class StoreCollector(Collector):
    """Counts operations on the store and the sources of tokens; exposes nothing without a store.

    ``is_available`` and ``undecryptable_count`` are set if there is a store, and called at each
    scrape: whether its last operations succeeded, and the number of undecryptable entries.
    """

    def __init__(self) -> None:
        self.is_available: Callable[[], bool | None] = lambda: None
        self.undecryptable_count: Callable[[], int] = lambda: 0
        self._tokens: dict[Labels, float] = {}
        self._waits: dict[Labels, Histogram] = {}
        self._failures: dict[Labels, float] = {}
        self._durations: dict[Labels, Histogram] = {}
        self._decrypt_failures: dict[Labels, float] = {}

    def add(self, event: Event) -> None:
        """Count an event, if it is one of the store."""
        match event:
            case StoreOperation(operation, seconds, failure):
                self._durations.setdefault((operation,), Histogram()).observe(seconds)
                if failure:
                    _count(self._failures, (operation, failure.value))
            case TokenAcquired(key, source, waited):
                _count(self._tokens, (*key_labels(key), source.value))
                if source in _TIMED_SOURCES:
                    self._waits.setdefault((source.value,), Histogram()).observe(waited)
            case DecryptFailed(key, reason):
                _count(
                    self._decrypt_failures, (key.kind.value, key.institution, key.subject, reason)
                )

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        available = self.is_available()
        if available is None:
            return
        yield gauge(
            "store_up",
            "1 when the last store operations succeeded, 0 otherwise.",
            (),
            [((), float(available))],
        )
        yield counter(
            "store_tokens",
            "Token acquisitions, by source: fetched, shared, uncached, direct, refused, failed.",
            (*KEY_LABELS, "source"),
            self._tokens.items(),
        )
        yield histogram(
            "store_wait_seconds",
            "Time until a token was acquired, for sources other than fetched.",
            ("source",),
            self._waits.items(),
        )
        yield histogram(
            "store_operation_duration_seconds",
            "Duration of store operations, failed ones included.",
            ("operation",),
            self._durations.items(),
        )
        yield counter(
            "store_failures",
            "Failed store operations.",
            ("operation", "reason"),
            self._failures.items(),
        )
        yield counter(
            "store_decrypt_failures",
            "Store entries that could not be decrypted, by reason: key or garbage.",
            (*KEY_LABELS, "reason"),
            self._decrypt_failures.items(),
        )
        yield gauge(
            "store_entries_unreadable",
            "Store entries that cannot be decrypted at present.",
            (),
            [((), self.undecryptable_count())],
        )


def _count(counts: dict[Labels, float], labels: Labels) -> None:
    counts[labels] = counts.get(labels, 0) + 1
