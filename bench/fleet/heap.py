"""A simulated clock: a queue of timed events."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Heap:
    """Events in order of time; those at the same time in order of scheduling."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._number = count()
        self.now = 0.0

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Schedule a call for a time, or for now if that has passed."""
        heapq.heappush(self._events, (max(when, self.now), next(self._number), call, arguments))

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Schedule a call after some seconds."""
        self.at(self.now + seconds, call, *arguments)

    def run(self, end: float) -> None:
        """Run all events before ``end``, and those that they schedule."""
        while self._events and self._events[0][0] < end:
            self.now, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)
        self.now = end
