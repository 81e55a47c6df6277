"""When which weather was: what every fate is held against."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.soak.promises import AFTER, FaultCause


@dataclass
class FaultPeriod:
    """A weather from ``began`` to ``ended``, which is infinite while it lasts."""

    cause: FaultCause
    name: str
    started_at: float
    ended_at: float = float("inf")


class FaultSchedule:
    """Keeps what weather there was for as long as it can explain anything."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._periods: list[FaultPeriod] = []
        self.counts: dict[str, int] = {}

    def note(self, cause: FaultCause, name: str, seconds: float) -> None:
        """Note a weather that is over already, and began so many seconds ago."""
        now = self._clock()
        self._periods.append(FaultPeriod(cause, name, now - seconds, now))
        self.counts[name] = self.counts.get(name, 0) + 1

    @contextmanager
    def period(self, cause: FaultCause, name: str) -> Iterator[None]:
        """Note a weather for as long as the block lasts."""
        spell = FaultPeriod(cause, name, self._clock())
        self._periods.append(spell)
        self.counts[name] = self.counts.get(name, 0) + 1
        try:
            yield
        finally:
            spell.ended_at = self._clock()
            self._periods = [one for one in self._periods if self._clock() - one.ended_at < 60]

    def causes(self, began: float, ended: float) -> frozenset[FaultCause]:
        """Return the weather that can have touched a request."""
        return frozenset(
            spell.cause
            for spell in self._periods
            if spell.started_at <= ended and spell.ended_at + AFTER[spell.cause] >= began
        )

    def describe(self, began: float, ended: float) -> str:
        """Return the same in words, for a report."""
        near = [
            one for one in self._periods if one.started_at <= ended and one.ended_at + 5 >= began
        ]
        return (
            ", ".join(f"{one.name} ({one.started_at - began:+.1f} s)" for one in near)
            or "clear sky"
        )
