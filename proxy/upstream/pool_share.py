"""A listener's share of the connections to the upstream.

Half of the connections and of the queue are divided among the listeners; the other half is open to
all, first come, first served. So a listener with slow requests cannot take what others need. A
single listener has all of it.
"""

import asyncio
from collections import deque
from typing import Any, final

Place = asyncio.Future[Any]
"""A place in the queue: becomes a released connection, or None for a slot to open one."""


@final
class PoolShare:
    """What one listener uses. ``guaranteed`` connections are its own, ``queue`` waits for more."""

    def __init__(self, guaranteed: int, guaranteed_places: int) -> None:
        self.guaranteed = guaranteed
        self.guaranteed_places = guaranteed_places
        self.in_use = 0
        self.queue: deque[Place] = deque()


def share_out(total: int, count: int) -> int:
    """Return how many of ``total`` each of ``count`` listeners has for itself."""
    return total if count == 1 else total // (2 * count)
