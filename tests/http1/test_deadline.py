"""A deadline, on a real loop with a simulated clock."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.http1.deadline import Deadline


class SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """A loop with a clock that can be advanced."""

    moved = 0.0

    def time(self) -> float:
        """Return the loop's time."""
        return super().time() + self.moved

    def pass_time(self, seconds: float) -> None:
        """Advance the clock, and run what is due."""
        self.moved += seconds
        for _ in range(3):
            self.run_until_complete(asyncio.sleep(0))


class Waiting:
    """Something with a deadline. ``ended`` counts calls of ``on_deadline``."""

    def __init__(self, loop: SimulatedTimeLoop) -> None:
        self.deadline = Deadline(loop, self)
        self.due: float | None = None
        self.ended = 0

    def due_at(self) -> float | None:
        """Return the time of the deadline."""
        return self.due

    def on_deadline(self) -> None:
        """Count the call."""
        self.ended += 1


@pytest.fixture
def loop() -> Iterator[SimulatedTimeLoop]:
    """A loop that is closed at the end."""
    loop = SimulatedTimeLoop()
    yield loop
    loop.close()


def armed(loop: SimulatedTimeLoop, seconds: float) -> Waiting:
    """Return something that is due in ``seconds``."""
    waiting = Waiting(loop)
    waiting.due = loop.time() + seconds
    waiting.deadline.arm(waiting.due)
    return waiting


def test_deadline_fires_once(loop: SimulatedTimeLoop) -> None:
    """At its time, and not before."""
    waiting = armed(loop, 10)
    loop.pass_time(9)
    assert waiting.ended == 0
    loop.pass_time(2)
    loop.pass_time(20)
    assert waiting.ended == 1
    assert waiting.deadline.timer is None


def test_later_deadline_keeps_the_timer(loop: SimulatedTimeLoop) -> None:
    """The timer fires early and is set again."""
    waiting = armed(loop, 10)
    waiting.due = loop.time() + 15
    waiting.deadline.arm(waiting.due)
    loop.pass_time(11)
    assert waiting.ended == 0
    assert waiting.deadline.timer is not None
    loop.pass_time(5)
    assert waiting.ended == 1


def test_earlier_deadline_replaces_the_timer(loop: SimulatedTimeLoop) -> None:
    """It fires at the earlier time."""
    waiting = armed(loop, 10)
    waiting.due = loop.time() + 5
    waiting.deadline.arm(waiting.due)
    loop.pass_time(6)
    assert waiting.ended == 1


@pytest.mark.parametrize("ending", ["cancelled", "nothing is waited for"])
def test_cancelled_deadline_does_not_fire(loop: SimulatedTimeLoop, ending: str) -> None:
    """Cancelled, or fired without a deadline: the timer is not set again."""
    waiting = armed(loop, 10)
    waiting.due = None
    if ending == "cancelled":
        waiting.deadline.cancel()
        assert waiting.deadline.timer is None
    loop.pass_time(20)
    assert waiting.ended == 0
    assert waiting.deadline.timer is None
