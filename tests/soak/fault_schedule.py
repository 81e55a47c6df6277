"""Records the periods of faults, with which outcomes are compared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.soak.promises import AFTER, FaultCause


@dataclass
class FaultPeriod:
    """A fault from ``started_at`` to ``ended_at``, which is infinite while it lasts."""

    cause: FaultCause
    name: str
    started_at: float
    ended_at: float = float("inf")


class FaultSchedule:
    """Records periods of faults for as long as they can affect requests."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._periods: list[FaultPeriod] = []
        self.counts: dict[str, int] = {}

    def note(self, cause: FaultCause, name: str, seconds: float) -> None:
        """Record a fault that is over and started some seconds ago."""
        now = self._clock()
        self._periods.append(FaultPeriod(cause, name, now - seconds, now))
        self.counts[name] = self.counts.get(name, 0) + 1

    @contextmanager
    def period(self, cause: FaultCause, name: str) -> Iterator[None]:
        """Record a fault for the duration of the block."""
        spell = FaultPeriod(cause, name, self._clock())
        self._periods.append(spell)
        self.counts[name] = self.counts.get(name, 0) + 1
        try:
            yield
        finally:
            spell.ended_at = self._clock()
            self._periods = [one for one in self._periods if self._clock() - one.ended_at < 60]

    def causes(self, began: float, ended: float) -> frozenset[FaultCause]:
        """Return the faults that can have affected a request."""
        return frozenset(
            spell.cause
            for spell in self._periods
            if spell.started_at <= ended and spell.ended_at + AFTER[spell.cause] >= began
        )

    def describe(self, began: float, ended: float) -> str:
        """Return these faults as text, for a report."""
        near = [
            one for one in self._periods if one.started_at <= ended and one.ended_at + 5 >= began
        ]
        return ", ".join(f"{one.name} ({one.started_at - began:+.1f} s)" for one in near) or "none"
