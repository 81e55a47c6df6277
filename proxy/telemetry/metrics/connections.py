"""How connections to the bank come about: look-ups, addresses that fail, times."""

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.events import Event
from proxy.telemetry.metrics.families import counter, histogram
from proxy.telemetry.metrics.histogram import Histogram
from proxy.upstream.events import (
    AddressFailed,
    AddressFailure,
    ConnectionOpened,
    LookedUp,
    LookupResult,
)


class ConnectionCollector(Collector):
    """Counts look-ups and addresses that gave no connection, and times the connections."""

    def __init__(self) -> None:
        self._lookups = dict.fromkeys(LookupResult, 0)
        self._failures = dict.fromkeys(AddressFailure, 0)
        self._durations = Histogram()

    def add(self, event: Event) -> None:
        """Count an event, if it is about a connection."""
        match event:
            case LookedUp(_, result):
                self._lookups[result] += 1
            case AddressFailed(_, _, reason):
                self._failures[reason] += 1
            case ConnectionOpened(seconds):
                self._durations.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Make the series."""
        yield counter(
            "dns_lookups",
            "DNS look-ups of the bank or the outbound proxy, by what came of them.",
            ("result",),
            [((result.value,), count) for result, count in self._lookups.items()],
        )
        yield counter(
            "upstream_address_failures",
            "Addresses of the bank or the outbound proxy that gave no connection.",
            ("reason",),
            [((reason.value,), count) for reason, count in self._failures.items()],
        )
        yield histogram(
            "upstream_connect_duration_seconds",
            "Time to open a connection to the bank, from the look-up to the TLS handshake.",
            (),
            [((), self._durations)],
        )
