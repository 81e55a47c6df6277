"""Events of the store: which failures mean that it is unavailable."""

from proxy.tokens.fleet.events import StoreFailure


def test_responding_store_is_available() -> None:
    """A refused change does not make it unavailable."""
    there = {failure for failure in StoreFailure if not failure.is_absence}
    assert there == {
        StoreFailure.NONE,
        StoreFailure.FORBIDDEN,
        StoreFailure.READ_ONLY,
        StoreFailure.FULL,
        StoreFailure.CIRCUIT_OPEN,
        StoreFailure.OTHER,
    }
