"""How connections to the bank come about, in numbers."""

import pytest

from proxy.telemetry.metrics.connections import ConnectionCollector
from proxy.upstream.events import (
    AddressFailed,
    AddressFailure,
    ConnectionOpened,
    LookedUp,
    LookupResult,
)
from tests.telemetry.metrics.reading import value


@pytest.mark.parametrize("result", LookupResult)
def test_lookups(result: LookupResult) -> None:
    """Counted by what came of them; every result is there from the start."""
    collector = ConnectionCollector()
    collector.add(LookedUp("bank.test", result, 0.1))
    for each in LookupResult:
        assert value(collector, "dns_lookups_total", result=each.value) == (each == result)


@pytest.mark.parametrize("reason", AddressFailure)
def test_addresses_that_fail(reason: AddressFailure) -> None:
    """Counted by why, whether another address was used or not."""
    collector = ConnectionCollector()
    collector.add(AddressFailed("bank.test", "192.0.2.1:443", reason))
    for each in AddressFailure:
        counted = value(collector, "upstream_address_failures_total", reason=each.value)
        assert counted == (each == reason)


def test_times() -> None:
    """A connection is observed with the seconds that it took."""
    collector = ConnectionCollector()
    collector.add(ConnectionOpened(0.3))
    assert value(collector, "upstream_connect_duration_seconds_count") == 1
    assert value(collector, "upstream_connect_duration_seconds_sum") == 0.3
