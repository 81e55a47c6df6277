"""The store's series: there is nothing without one."""

from proxy.telemetry.metrics.token_store import StoreCollector
from proxy.tokens.fleet.events import (
    AcquisitionSource,
    DecryptFailed,
    StoreFailure,
    StoreOperation,
    TokenAcquired,
)
from tests.telemetry.metrics.reading import KEY, LABELS, value


def tally() -> StoreCollector:
    """Return a tally that somebody has told of a store."""
    made = StoreCollector()
    made.is_available = lambda: True
    return made


def test_nothing_without_a_store() -> None:
    """Not even a zero that might be taken for trouble."""
    assert list(StoreCollector().collect()) == []


def test_steps() -> None:
    """By what was done, how long it took, and why it was not."""
    made = tally()
    made.add(StoreOperation("read", 0.2, StoreFailure.NONE))
    made.add(StoreOperation("read", 0.5, StoreFailure.TIMEOUT))
    assert value(made, "store_operation_duration_seconds_count", operation="read") == 2
    assert value(made, "store_failures_total", operation="read", reason="timeout") == 1


def test_tokens_by_how_they_were_come_by() -> None:
    """The wait is counted for those who did not ask for all."""
    made = tally()
    made.add(TokenAcquired(KEY, AcquisitionSource.FETCHED, 0.1))
    made.add(TokenAcquired(KEY, AcquisitionSource.SHARED, 0.1))
    made.add(TokenAcquired(KEY, AcquisitionSource.SHARED, 0.1))
    assert value(made, "store_tokens_total", **LABELS, source="fetched") == 1
    assert value(made, "store_tokens_total", **LABELS, source="shared") == 2
    assert value(made, "store_wait_seconds_count", source="shared") == 2
    assert not value(made, "store_wait_seconds_count", source="fetched")


def test_what_does_not_open() -> None:
    """Counted as it is found, and shown for as long as it stands there."""
    made = tally()
    made.undecryptable_count = lambda: 3
    made.add(DecryptFailed(KEY, "key"))
    assert value(made, "store_decrypt_failures_total", **LABELS, reason="key") == 1
    assert value(made, "store_entries_unreadable") == 3


def test_whether_it_is_of_use() -> None:
    """As it is when somebody asks."""
    made = tally()
    assert value(made, "store_up") == 1
    made.is_available = lambda: False
    assert value(made, "store_up") == 0
