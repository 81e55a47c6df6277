"""Keeps the cache ahead of expiry: the one background loop of the token's way."""

import asyncio
import math
from collections.abc import Callable

from proxy.tokens.cache import Entry, TokenCache
from proxy.tokens.token import Moment

SHORTEST_SLEEP = 0.05
"""Seconds; with a thousand keys, what falls due in this time is looked at together."""

LONGEST_SLEEP = 60.0
"""Seconds; after a suspended machine wakes, this bounds how late a due refresh is noticed."""


class Refresher:
    """Starts a refresh for each key when it is due, and lets unused keys go.

    ``idle`` is the time, in seconds, after which the token of a key that no request has asked
    for is released instead of renewed.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        clock: Callable[[], Moment],
        idle: float,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._idle = idle
        self._wake = asyncio.Event()
        cache.changed = self._wake.set

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            await self._rest(self.step())
            await asyncio.sleep(SHORTEST_SLEEP)

    def step(self) -> float:
        """Start everything that is due now; return the seconds until the next thing is."""
        now = self._clock()
        soonest = math.inf
        for entry in self._cache.entries():
            wait = entry.until_due(now)
            if wait > 0:
                soonest = min(soonest, wait)
            elif self._is_unused(entry, now):
                self._cache.release(entry)
            else:
                self._cache.start_refresh(entry)
        return soonest

    def _is_unused(self, entry: Entry, now: Moment) -> bool:
        return not entry.pinned and now.monotonic - entry.used_at > self._idle

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, LONGEST_SLEEP)):
                await self._wake.wait()
        except TimeoutError:
            return
