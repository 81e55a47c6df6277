"""Keeps the cache ahead of expiry: the one background loop of the token's way."""

import asyncio
import math
from collections.abc import Callable

from proxy.tokens.cache import Entry, TokenCache
from proxy.tokens.rate_limit import TokenBucket, rate_for
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Instant

SHORTEST_SLEEP = 0.05
"""Seconds; with a thousand keys, what falls due in this time is looked at together."""

LONGEST_SLEEP = 60.0
"""Seconds; after a suspended machine wakes, this bounds how late a due refresh is noticed."""


class Refresher:
    """Starts a refresh for each key when it is due, and lets unused keys go.

    Where many are due together they go one after another, at the ``policy``'s pace. ``idle`` is
    the time, in seconds, after which the token of a key that no request has asked for is
    released instead of renewed.
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
        """Work until cancelled."""
        while True:
            self._wake.clear()
            await self._sleep(self.step())
            await asyncio.sleep(SHORTEST_SLEEP)

    def step(self) -> float:
        """Start what is due now, as the pace allows; return the seconds until there is more."""
        now = self._clock()
        soonest, running, needed = math.inf, 0, 0.0
        due: list[Entry] = []
        for entry in self._cache.entries():
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
        """Start some of these; return the seconds until another may be."""
        rate = rate_for(self._policy.refresh_rate, needed)
        allowance = self._bucket.refilled(now, rate)
        free = self._policy.max_refreshes - running
        chosen = sorted(due, key=_urgency)[: max(min(int(allowance.calls), free), 0)]
        for entry in chosen:
            self._cache.start_refresh(entry)
        self._bucket = allowance.minus(len(chosen))
        # With no place free, the end of any call wakes us.
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
    """Readiness first; an institution in trouble does not hold up the others; then the used."""
    return not entry.pinned, entry.failures, -entry.used_at
