"""Passes each event and each finished request to every observer.

Observers return nothing: telemetry never influences the program.
"""

from collections.abc import Sequence
from typing import Protocol

from proxy.forwarding.record import RequestRecord
from proxy.telemetry.events import Event, InternalError, OperatorWarning


class Observer(Protocol):
    """Counts, writes or stores events and requests; it must neither block nor raise."""

    def event(self, event: Event) -> None:
        """Handle an event."""

    def request(self, record: RequestRecord) -> None:
        """Handle a finished request; the record does not change any more."""


class Observers:
    """Calls the observers in order.

    ``request`` is the list of their methods, so that a request costs one call per observer.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._event = tuple(observer.event for observer in observers)
        self.request = tuple(observer.request for observer in observers)

    def event(self, event: Event) -> None:
        """Pass an event to every observer."""
        for observe in self._event:
            observe(event)

    def crash(self, error: BaseException) -> None:
        """Emit ``InternalError``."""
        self.event(InternalError(error))

    def warn(self, text: str) -> None:
        """Emit ``OperatorWarning``."""
        self.event(OperatorWarning(text))
