"""The token cache: a token is served until it expires, with one call in flight per key.

Token, failure count and back-off are kept per key, so failures of one institution do not affect
another.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from cachetools import Cache

from proxy.errors import TokenError, kinds
from proxy.tasks import Tasks
from proxy.tokens.events import (
    TokenEvent,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
    Trigger,
)
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Instant, Token, TokenKey, TokenSource


@dataclass(slots=True, eq=False)
class Entry:
    """The state of one key. Times are monotonic seconds, ``refresh_age`` an age in seconds.

    ``missing_trigger`` is the reason why there is no token, if there is none.
    """

    key: TokenKey
    used_at: float
    pinned: bool = False
    token: Token | None = None
    refresh_age: float = 0.0
    failures: int = 0
    error: TokenError | None = None
    retry_at: float = -math.inf
    missing_trigger: Trigger = Trigger.FIRST
    fetch: "asyncio.Task[Token | TokenError] | None" = None

    @property
    def is_new(self) -> bool:
        """Whether there has been no token yet."""
        return not self.refresh_age

    def until_due(self, now: Instant) -> float:
        """Return the seconds until a token call is due; infinite while one runs."""
        if self.fetch is not None:
            return math.inf
        wait = self.retry_at - now.monotonic
        if self.token is not None:
            wait = max(wait, self.refresh_age - now.since(self.token.issued))
        return max(wait, 0.0)

    def trigger(self, now: Instant) -> Trigger:
        """Return the trigger of a token call that starts now."""
        if self.token is None:
            return self.missing_trigger
        return Trigger.DUE if self.token.is_alive(now) else Trigger.EXPIRED


class EntryCache(Cache[TokenKey, Entry]):
    """The entries by key. At capacity, ``release`` is called with the least recently used one.

    A pinned entry, or one with a call in flight, is released only if there is no other.
    """

    def __init__(self, capacity: int, release: Callable[[Entry], None]) -> None:
        super().__init__(capacity)
        self._release = release

    def popitem(self) -> tuple[TokenKey, Entry]:
        """Release one entry."""
        entry = min(
            self.values(), key=lambda entry: (entry.pinned, entry.fetch is not None, entry.used_at)
        )
        self._release(entry)
        return entry.key, entry


class TokenCache:
    """Wraps another token source.

    ``capacity`` bounds the keys held; the least recently used goes first. ``on_change`` is called
    whenever a due time may have moved, ``on_rejected`` with each token that is dropped because the
    bank refused it.
    """

    def __init__(
        self,
        source: TokenSource,
        policy: RefreshPolicy,
        *,
        clock: Callable[[], Instant],
        chance: Callable[[], float],
        emit: Callable[[TokenEvent], None],
        capacity: int = 4096,
    ) -> None:
        self._source = source
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._entries = EntryCache(capacity, self.release)
        self._tasks = Tasks("tokens")
        self.on_change: Callable[[], None] = lambda: None
        self.on_rejected: Callable[[Token], None] = lambda _token: None

    def current(self, key: TokenKey) -> Token | None:
        """Return the live token for ``key``, if there is one. The hot path: no lock, no task."""
        try:
            entry = self._entries[key]
        except KeyError:
            return None
        if entry.token is None:
            return None
        now = self._clock()
        entry.used_at = now.monotonic
        return entry.token if entry.token.is_alive(now) else None

    async def token(self, key: TokenKey) -> Token:
        """Return a live token, and fetch one if necessary.

        Raises ``TokenError``, during a back-off immediately, with its rest in ``retry_after``.
        """
        token = self.current(key)
        if token is not None:
            return token
        entry = self._entry(key)
        now = self._clock()
        entry.used_at = now.monotonic
        if entry.fetch is None and entry.error is not None and now.monotonic < entry.retry_at:
            raise entry.error.with_retry_after(entry.retry_at - now.monotonic)
        self.start_refresh(entry)
        assert entry.fetch is not None
        outcome = await asyncio.shield(entry.fetch)
        if isinstance(outcome, TokenError):
            raise outcome.with_retry_after(max(entry.retry_at - self._clock().monotonic, 1.0))
        return outcome

    def reject(self, token: Token) -> bool:
        """Drop ``token`` because the bank refused it; return whether a new one may be fetched.

        Only the current token is dropped; a late refusal of an older one has no effect.
        """
        entry = self._entries.get(token.key)
        if entry is None or entry.token is not token:
            self._emit(TokenRejected(token, was_current=False))
            return True
        was_dropped = self._policy.may_reject(token, self._clock())
        if was_dropped:
            entry.token, entry.missing_trigger = None, Trigger.REJECTED
            self.on_rejected(token)
            self.on_change()
        self._emit(TokenRejected(token, was_current=was_dropped))
        return was_dropped

    def peek(self, key: TokenKey) -> Token | None:
        """Return the live token for ``key``, if there is one, without marking it as used."""
        entry = self._entries.get(key)
        if entry is None or entry.token is None or not entry.token.is_alive(self._clock()):
            return None
        return entry.token

    def drop_rejected(self, token: Token) -> None:
        """Drop ``token`` because another proxy has seen the bank refuse it."""
        entry = self._entries.get(token.key)
        if (
            entry is not None
            and entry.token is token
            and self._policy.may_reject(token, self._clock())
        ):
            entry.token, entry.missing_trigger = None, Trigger.REJECTED
            self.on_change()

    def install(self, token: Token, *, unless_known: bool = False) -> None:
        """Store a token; with ``unless_known`` only if there is none."""
        entry = self._entry(token.key)
        if not (unless_known and entry.token is not None):
            entry.token = token
            entry.refresh_age = self._policy.refresh_age(token.lifetime, self._chance())
            entry.failures, entry.error, entry.retry_at = 0, None, -math.inf
            self.on_change()

    def record_refresh(self, token: Token, seconds: float, trigger: Trigger) -> None:
        """Store a new token, fetched in ``seconds``, and emit ``TokenRefreshed``."""
        self.install(token)
        self._emit(TokenRefreshed(token, seconds, self._entry(token.key).refresh_age, trigger))

    def pin(self, key: TokenKey) -> None:
        """Keep a token for ``key`` at all times, used or not.

        The first is fetched after the start's delay, or as soon as a request needs it.
        """
        entry = self._entry(key)
        entry.pinned = True
        if entry.is_new:
            delay = self._policy.start_delay(self._chance())
            entry.retry_at = max(entry.retry_at, self._clock().monotonic + delay)
        self.on_change()

    def clear_failures(self, keys: Collection[TokenKey]) -> None:
        """Reset the failures of these keys, because their credentials have changed."""
        for entry in self.entries():
            if entry.key in keys:
                entry.failures, entry.error, entry.retry_at = 0, None, -math.inf
        self.on_change()

    def release(self, entry: Entry) -> None:
        """Drop an unused key."""
        self._entries.pop(entry.key, None)
        self._emit(TokenReleased(entry.key))

    def entries(self) -> Iterator[Entry]:
        """Iterate over a copy of the entries."""
        return iter(list(self._entries.values()))

    def start_refresh(self, entry: Entry) -> None:
        """Start a token call, unless one is running."""
        if entry.fetch is None:
            entry.fetch = self._tasks.spawn(f"fetch-{entry.key.institution}", self._fetch(entry))

    async def close(self) -> None:
        """Cancel the running calls."""
        await self._tasks.cancel()

    def _entry(self, key: TokenKey) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key, used_at=self._clock().monotonic)
        return entry

    async def _fetch(self, entry: Entry) -> Token | TokenError:
        # Errors are returned, because a task without a waiter must not end with an exception that
        # is never retrieved.
        started = self._clock()
        trigger = entry.trigger(started)
        try:
            outcome: Token | TokenError = self._check_alive(await self._source.token(entry.key))
        except TokenError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - one failure must not end all refreshing
            outcome = TokenError(kinds.TOKEN_INTERNAL)
            outcome.__cause__ = error
        finally:
            entry.fetch = None
        seconds = self._clock().since(started)
        if isinstance(outcome, Token):
            self.record_refresh(
                outcome, seconds, Trigger.SHARED if outcome.is_from_store else trigger
            )
        else:
            self._record_failure(entry, outcome, seconds, trigger)
        self.on_change()
        return outcome

    def _check_alive(self, token: Token) -> Token:
        # The call took longer than the token's lifetime, or the machine was suspended meanwhile.
        if not token.is_alive(self._clock()):
            raise TokenError(kinds.TOKEN_TIMEOUT, "The token had expired before it arrived.")
        return token

    def _record_failure(
        self, entry: Entry, error: TokenError, seconds: float, trigger: Trigger
    ) -> None:
        entry.failures += 1
        entry.error = error
        delay = self._policy.retry_delay(
            error.reason,
            entry.failures,
            self._chance(),
            error.retry_after,
            first=entry.is_new,
        )
        entry.retry_at = self._clock().monotonic + delay
        self._emit(TokenRefreshFailed(entry.key, error, seconds, entry.failures, delay, trigger))
