"""When which weather was: what every fate is held against."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.soak.promises import AFTER, Cause


@dataclass
class Spell:
    """A weather from ``began`` to ``ended``, which is infinite while it lasts."""

    cause: Cause
    name: str
    began: float
    ended: float = float("inf")


class Sky:
    """Keeps what weather there was for as long as it can explain anything."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spells: list[Spell] = []
        self.counts: dict[str, int] = {}

    def note(self, cause: Cause, name: str, seconds: float) -> None:
        """Note a weather that is over already, and began so many seconds ago."""
        now = self._clock()
        self._spells.append(Spell(cause, name, now - seconds, now))
        self.counts[name] = self.counts.get(name, 0) + 1

    @contextmanager
    def spell(self, cause: Cause, name: str) -> Iterator[None]:
        """Note a weather for as long as the block lasts."""
        spell = Spell(cause, name, self._clock())
        self._spells.append(spell)
        self.counts[name] = self.counts.get(name, 0) + 1
        try:
            yield
        finally:
            spell.ended = self._clock()
            self._spells = [one for one in self._spells if self._clock() - one.ended < 60]

    def causes(self, began: float, ended: float) -> frozenset[Cause]:
        """Return the weather that can have touched a request."""
        return frozenset(
            spell.cause
            for spell in self._spells
            if spell.began <= ended and spell.ended + AFTER[spell.cause] >= began
        )

    def told(self, began: float, ended: float) -> str:
        """Return the same in words, for a report."""
        near = [one for one in self._spells if one.began <= ended and one.ended + 5 >= began]
        return ", ".join(f"{one.name} ({one.began - began:+.1f} s)" for one in near) or "clear sky"
