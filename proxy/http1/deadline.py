"""A deadline that moves with every byte, on a timer that an ordinary exchange never touches."""

import asyncio
from typing import Protocol


class DeadlineOwner(Protocol):
    """What has a deadline."""

    def due_at(self) -> float | None:
        """Return when, in loop seconds, the wait is over; None while nothing is waited for."""

    def on_deadline(self) -> None:
        """End what has taken too long."""


class Deadline:
    """Calls its owner when the time that the owner names has come. ``timer`` is set meanwhile.

    A timer that is set for an earlier time stays: when it fires too early, the owner is asked
    again, and the timer is set anew. So a deadline that moves on costs nothing.
    """

    __slots__ = ("_fires_at", "_loop", "_owner", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: DeadlineOwner) -> None:
        self._loop = loop
        self._owner = owner
        self.timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    def arm(self, at: float) -> None:
        """See that the owner is asked at ``at``, in loop seconds, or before."""
        if self.timer is not None:
            if self._fires_at <= at:
                return
            self.timer.cancel()
        self._fires_at = at
        self.timer = self._loop.call_at(at, self._on_timer)

    def cancel(self) -> None:
        """Ask the owner no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _on_timer(self) -> None:
        self.timer = None
        at = self._owner.due_at()
        if at is None:
            return
        if self._loop.time() < at:
            self.arm(at)
        else:
            self._owner.on_deadline()
