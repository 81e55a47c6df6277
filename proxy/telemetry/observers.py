"""Who learns of what happens: every observer gets each event and each finished request.

Nothing here answers: telemetry never steers the program.
"""

from collections.abc import Sequence
from typing import Protocol

from proxy.forwarding.record import RequestRecord
from proxy.telemetry.events import Event, InternalError, OperatorWarning


class Observer(Protocol):
    """Counts, writes or keeps what it is given; it neither blocks nor raises."""

    def event(self, event: Event) -> None:
        """Take note of an event beside the requests."""

    def request(self, record: RequestRecord) -> None:
        """Take note of a request that has ended; the record does not change any more."""


class Observers:
    """The observers as one, in their order.

    ``request`` has their methods, so that a request costs one call each and none in between.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._event = tuple(observer.event for observer in observers)
        self.request = tuple(observer.request for observer in observers)

    def event(self, event: Event) -> None:
        """Tell every observer of an event."""
        for observe in self._event:
            observe(event)

    def crash(self, error: BaseException) -> None:
        """Tell of a mistake of our own."""
        self.event(InternalError(error))

    def warn(self, text: str) -> None:
        """Tell what an operator should know."""
        self.event(OperatorWarning(text))
