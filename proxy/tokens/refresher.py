"""The background loop that renews cached tokens before they expire."""

import asyncio
import math
from collections.abc import Callable

from proxy.tokens.cache import Entry, TokenCache
from proxy.tokens.rate_limit import TokenBucket, rate_for
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Instant

SHORTEST_SLEEP = 0.05
"""Seconds; keys that become due within this time are handled together."""

LONGEST_SLEEP = 60.0
"""Seconds; after a suspended machine wakes, this bounds how late a due refresh is noticed."""


class Refresher:
    """Starts a refresh for each key when it is due, and drops unused keys.

    Many that are due together start at the rate of ``policy``. ``idle`` is the time, in seconds,
    after which the token of a key without requests is dropped instead of renewed.
    """

    def __init__(
        self,
        cache: TokenCache,
        policy: RefreshPolicy,
        *,
        clock: Callable[[], Instant],
        idle: float,
    ) -> None:
        self._cache = cache
        self._policy = policy
        self._bucket = TokenBucket()
        self._clock = clock
        self._idle = idle
        self._wake = asyncio.Event()
        cache.on_change = self._wake.set

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            self._wake.clear()
            await self._sleep(self.step())
            await asyncio.sleep(SHORTEST_SLEEP)

    def step(self) -> float:
        """Start the refreshes that are due, within the rate; return the seconds until the next."""
        now = self._clock()
        soonest, running, needed = math.inf, 0, 0.0
        due: list[Entry] = []
        for entry in self._cache.entries():
            if entry.held.newer is not None:
                soonest = min(soonest, entry.held.until_retry(now))
            wait = entry.until_due(now)
            running += entry.fetch is not None
            needed += 0.0 if entry.is_new else 1.0 / entry.refresh_age
            if wait > 0:
                soonest = min(soonest, wait)
            elif self._is_unused(entry, now):
                self._cache.release(entry)
            else:
                due.append(entry)
        return min(soonest, self._start(due, running, now.monotonic, needed)) if due else soonest

    def _start(self, due: list[Entry], running: int, now: float, needed: float) -> float:
        """Start as many as the rate allows; return the seconds until another may start."""
        rate = rate_for(self._policy.refresh_rate, needed)
        allowance = self._bucket.refilled(now, rate)
        free = self._policy.max_refreshes - running
        chosen = sorted(due, key=_urgency)[: max(min(int(allowance.calls), free), 0)]
        for entry in chosen:
            self._cache.start_refresh(entry)
        self._bucket = allowance.minus(len(chosen))
        # At max_refreshes, the end of any call wakes the loop.
        waits = len(due) > len(chosen) and free > len(chosen)
        return self._bucket.until_next(rate) if waits else math.inf

    def _is_unused(self, entry: Entry, now: Instant) -> bool:
        return not entry.pinned and now.monotonic - entry.used_at > self._idle

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, LONGEST_SLEEP)):
                await self._wake.wait()
        except TimeoutError:
            return


def _urgency(entry: Entry) -> tuple[bool, int, float]:
    """Sort key: pinned keys first, then those with fewer failures, then the recently used."""
    return not entry.pinned, entry.failures, -entry.used_at
