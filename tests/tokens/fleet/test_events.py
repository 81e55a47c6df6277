"""Facts about the store: which failures mean that it is not there."""

from proxy.tokens.fleet.events import StoreFailure


def test_a_store_that_answers_is_there() -> None:
    """Whatever it answers to a change, it can be asked again at once."""
    there = {failure for failure in StoreFailure if not failure.is_absence}
    assert there == {
        StoreFailure.NONE,
        StoreFailure.FORBIDDEN,
        StoreFailure.READ_ONLY,
        StoreFailure.FULL,
        StoreFailure.CIRCUIT_OPEN,
        StoreFailure.OTHER,
    }
