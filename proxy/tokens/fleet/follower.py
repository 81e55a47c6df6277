"""Follows what the rest of the fleet does: takes its newer tokens, drops what it saw rejected."""

import asyncio
from collections.abc import Callable

from proxy.tokens.cache import TokenCache
from proxy.tokens.events import Trigger
from proxy.tokens.fleet.lease_policy import SharingPolicy
from proxy.tokens.fleet.source import SharedTokens
from proxy.tokens.token import TokenKey


class Follower:
    """Looks into the store every few seconds, one key after another.

    So a token that another proxy got after a failure, or in place of a rejected one, is here
    before it is missed; and a store that went away is tried by this loop rather than by a request.
    """

    def __init__(
        self,
        cache: TokenCache,
        shared: SharedTokens,
        policy: SharingPolicy,
        *,
        chance: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._shared = shared
        self._policy = policy
        self._chance = chance

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            keys = [entry.key for entry in self._cache.entries() if entry.fetch is None]
            if not keys:
                await self._rest(0)
            for key in keys:
                await self._rest(len(keys))
                await self.look(key)

    async def _rest(self, keys: int) -> None:
        await asyncio.sleep(self._policy.follow_every(keys) * (0.5 + self._chance()))

    async def look(self, key: TokenKey) -> None:
        """Take what the store has for a key, if it is better than what is here."""
        held = self._cache.held(key)
        news = await self._shared.news(key)
        if held is not self._cache.held(key):
            return
        if held is not None and news.rejected:
            self._cache.withdraw(held)
        if news.newer is not None:
            self._cache.renew(news.newer, 0.0, Trigger.TAKEN)
