"""Metrics of the token store."""

from proxy.telemetry.metrics.token_store import StoreCollector
from proxy.tokens.fleet.events import (
    AcquisitionSource,
    DecryptFailed,
    StoreFailure,
    StoreOperation,
    TokenAcquired,
)
from tests.telemetry.metrics.reading import KEY, LABELS, value


def collector() -> StoreCollector:
    """Return a collector with a store."""
    made = StoreCollector()
    made.is_available = lambda: True
    return made


def test_no_series_without_a_store() -> None:
    """Not even zeros."""
    assert list(StoreCollector().collect()) == []


def test_steps() -> None:
    """By operation, duration and failure."""
    made = collector()
    made.add(StoreOperation("read", 0.2, StoreFailure.NONE))
    made.add(StoreOperation("read", 0.5, StoreFailure.TIMEOUT))
    assert value(made, "store_operation_duration_seconds_count", operation="read") == 2
    assert value(made, "store_failures_total", operation="read", reason="timeout") == 1


def test_tokens_by_source() -> None:
    """Waits are observed for those that did not fetch."""
    made = collector()
    made.add(TokenAcquired(KEY, AcquisitionSource.FETCHED, 0.1))
    made.add(TokenAcquired(KEY, AcquisitionSource.SHARED, 0.1))
    made.add(TokenAcquired(KEY, AcquisitionSource.SHARED, 0.1))
    assert value(made, "store_tokens_total", **LABELS, source="fetched") == 1
    assert value(made, "store_tokens_total", **LABELS, source="shared") == 2
    assert value(made, "store_wait_seconds_count", source="shared") == 2
    assert not value(made, "store_wait_seconds_count", source="fetched")


def test_undecryptable_entries() -> None:
    """Counted, and shown while they exist."""
    made = collector()
    made.undecryptable_count = lambda: 3
    made.add(DecryptFailed(KEY, "key"))
    assert value(made, "store_decrypt_failures_total", **LABELS, reason="key") == 1
    assert value(made, "store_entries_unreadable") == 3


def test_availability() -> None:
    """Read at collection."""
    made = collector()
    assert value(made, "store_up") == 1
    made.is_available = lambda: False
    assert value(made, "store_up") == 0
