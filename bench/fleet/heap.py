"""A clock of one's own: what happens next, happens now."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Heap:
    """Events in the order of their time; equal times in the order in which they were planned."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._number = count()
        self.now = 0.0

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan a call for a time, or for now if that has passed."""
        heapq.heappush(self._events, (max(when, self.now), next(self._number), call, arguments))

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan a call."""
        self.at(self.now + seconds, call, *arguments)

    def run(self, end: float) -> None:
        """Let all happen that is planned before ``end``, and what comes of it."""
        while self._events and self._events[0][0] < end:
            self.now, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)
        self.now = end
