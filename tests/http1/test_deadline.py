"""A deadline, on a real loop whose time is moved by hand."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.http1.deadline import Deadline


class MovedLoop(asyncio.SelectorEventLoop):
    """A loop whose time can be moved on."""

    moved = 0.0

    def time(self) -> float:
        """Return the loop's time."""
        return super().time() + self.moved

    def pass_time(self, seconds: float) -> None:
        """Move the time on, and let what is due happen."""
        self.moved += seconds
        for _ in range(3):
            self.run_until_complete(asyncio.sleep(0))


class Waiting:
    """Something with a deadline. ``ended`` counts how often it was ended."""

    def __init__(self, loop: MovedLoop) -> None:
        self.deadline = Deadline(loop, self)
        self.due: float | None = None
        self.ended = 0

    def due_at(self) -> float | None:
        """Return when the wait is over."""
        return self.due

    def on_deadline(self) -> None:
        """Note it."""
        self.ended += 1


@pytest.fixture
def loop() -> Iterator[MovedLoop]:
    """A loop that is closed at the end."""
    loop = MovedLoop()
    yield loop
    loop.close()


def armed(loop: MovedLoop, seconds: float) -> Waiting:
    """Return something that is due in so many seconds."""
    waiting = Waiting(loop)
    waiting.due = loop.time() + seconds
    waiting.deadline.arm(waiting.due)
    return waiting


def test_it_ends_what_takes_too_long(loop: MovedLoop) -> None:
    """Once, when its time has come, and not before."""
    waiting = armed(loop, 10)
    loop.pass_time(9)
    assert waiting.ended == 0
    loop.pass_time(2)
    loop.pass_time(20)
    assert waiting.ended == 1
    assert waiting.deadline.timer is None


def test_later_deadline_leaves_the_timer_alone(loop: MovedLoop) -> None:
    """It fires too early, asks when it is due, and comes back."""
    waiting = armed(loop, 10)
    waiting.due = loop.time() + 15
    waiting.deadline.arm(waiting.due)
    loop.pass_time(11)
    assert waiting.ended == 0
    assert waiting.deadline.timer is not None
    loop.pass_time(5)
    assert waiting.ended == 1


def test_earlier_deadline_takes_the_place_of_a_later_one(loop: MovedLoop) -> None:
    """Nobody waits for the later one."""
    waiting = armed(loop, 10)
    waiting.due = loop.time() + 5
    waiting.deadline.arm(waiting.due)
    loop.pass_time(6)
    assert waiting.ended == 1


@pytest.mark.parametrize("ending", ["cancelled", "nothing is waited for"])
def test_it_ends_nothing_that_is_over(loop: MovedLoop, ending: str) -> None:
    """Cancelled, or fired while nothing is waited for: then it is not set again."""
    waiting = armed(loop, 10)
    waiting.due = None
    if ending == "cancelled":
        waiting.deadline.cancel()
        assert waiting.deadline.timer is None
    loop.pass_time(20)
    assert waiting.ended == 0
    assert waiting.deadline.timer is None
