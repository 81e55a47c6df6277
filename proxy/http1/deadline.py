"""A deadline that moves with every byte, on a timer that an ordinary exchange never touches."""

import asyncio
from typing import Protocol


class DeadlineOwner(Protocol):
    """A connection with a deadline."""

    def due_at(self) -> float | None:
        """Return the present deadline in loop seconds; None while there is none."""

    def on_deadline(self) -> None:
        """Handle an expired deadline."""


class Deadline:
    """Calls ``owner.on_deadline()`` at ``owner.due_at()``. ``timer`` is set while armed.

    A move to a later time does not touch the timer: when it fires, ``due_at()`` is read again, and
    the timer is set for the rest. So a deadline that moves with every byte costs nothing.
    """

    __slots__ = ("_fires_at", "_loop", "_owner", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: DeadlineOwner) -> None:
        self._loop = loop
        self._owner = owner
        self.timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    def arm(self, at: float) -> None:
        """Check the owner's deadline at ``at``, in loop seconds, or earlier."""
        if self.timer is not None:
            if self._fires_at <= at:
                return
            self.timer.cancel()
        self._fires_at = at
        self.timer = self._loop.call_at(at, self._on_timer)

    def cancel(self) -> None:
        """Stop the timer."""
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
