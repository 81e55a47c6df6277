"""Polls the store: takes newer tokens of other proxies, drops tokens that they saw rejected."""

import asyncio
from collections.abc import Callable

from proxy.tokens.cache import TokenCache
from proxy.tokens.events import Trigger
from proxy.tokens.fleet.lease_policy import LeasePolicy
from proxy.tokens.fleet.source import SharedTokenSource
from proxy.tokens.token import TokenKey


class Follower:
    """Polls the store every few seconds, one key after another.

    So a token that another proxy fetched after a failure or a rejection arrives before a request
    needs it, and a failed store is tried by this loop rather than by a request.
    """

    def __init__(
        self,
        cache: TokenCache,
        shared: SharedTokenSource,
        policy: LeasePolicy,
        *,
        chance: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._shared = shared
        self._policy = policy
        self._chance = chance

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            keys = [entry.key for entry in self._cache.entries() if entry.fetch is None]
            if not keys:
                await self._sleep(0)
            for key in keys:
                await self._sleep(len(keys))
                await self.poll(key)

    async def _sleep(self, keys: int) -> None:
        await asyncio.sleep(self._policy.poll_interval(keys) * (0.5 + self._chance()))

    async def poll(self, key: TokenKey) -> None:
        """Update the cached token of a key from the store."""
        current_token = self._cache.peek(key)
        update = await self._shared.poll(key)
        if current_token is not self._cache.peek(key):
            return
        if current_token is not None and update.is_rejected:
            self._cache.drop_rejected(current_token)
        if update.newer_token is not None:
            self._cache.record_refresh(update.newer_token, 0.0, Trigger.SHARED)
