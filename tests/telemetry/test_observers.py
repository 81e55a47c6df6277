"""Every observer gets every event and request, in order."""

from proxy.forwarding.record import RequestRecord
from proxy.telemetry.events import Event, InternalError, OperatorWarning, Reloaded
from proxy.telemetry.observers import Observers


class Recorder:
    """Records what it gets, in a list that observers share."""

    def __init__(self, name: str, kept: list[tuple[str, object]]) -> None:
        self.name = name
        self.kept = kept

    def event(self, event: Event) -> None:
        """Record an event."""
        self.kept.append((self.name, event))

    def request(self, record: RequestRecord) -> None:
        """Record a request."""
        self.kept.append((self.name, record))


def test_observers_are_called_in_order() -> None:
    """For events, requests, internal errors and warnings."""
    kept: list[tuple[str, object]] = []
    observers = Observers([Recorder("first", kept), Recorder("second", kept)])
    record, error = RequestRecord("GET", b"/", 0.0), ValueError("broken")
    observers.event(Reloaded("signal"))
    for observe in observers.request:
        observe(record)
    observers.crash(error)
    observers.warn("look")
    expected = [Reloaded("signal"), record, InternalError(error), OperatorWarning("look")]
    assert kept == [(name, one) for one in expected for name in ("first", "second")]
