"""Events of connections: their words are labels of metrics."""

import pytest

from proxy.upstream.events import AddressFailure, ConnectionOpened, LookupResult, ignore


@pytest.mark.parametrize("label", [*LookupResult, *AddressFailure])
def test_labels(label: str) -> None:
    """A label is of small letters and underscores."""
    assert label.replace("_", "").islower()


def test_nobody_listens() -> None:
    """Without an observer an event goes nowhere."""
    ignore(ConnectionOpened(1.0))
