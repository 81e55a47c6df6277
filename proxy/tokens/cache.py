"""The token cache: a token is served until it expires, with one call in flight per key.

Token, failure count and back-off are kept per key, so failures of one institution do not affect
another.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field

from cachetools import Cache

from proxy.errors import TokenError, kinds
from proxy.tasks import Tasks
from proxy.tokens.events import (
    TokenCallSlow,
    TokenConflict,
    TokenEvent,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
    TokenUnchanged,
    Trigger,
    slow_token,
)
from proxy.tokens.held import HeldTokens, Reaction
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Instant, Token, TokenKey, TokenSource
from proxy.tokens.token_response import TokenExpiringError

SAME_TOKEN_MEMORY = 8
"""Tokens that are not renewed early, after the endpoint has handed out a live token again."""

EXPIRING_CALLS = 3
"""Calls for a token, while each gets one with less than a second left, until that is a failure."""

EXPIRING_WAIT = 1.0
"""Longest wait in seconds between them, and for the end of a token that is handed out again."""

SLOW_SHARE = 0.5
"""A token call is slow if it takes this share of the lifetime; renewals start after half of it."""


@dataclass(slots=True, eq=False)
class Entry:
    """The state of one key. Times are monotonic seconds, ``refresh_age`` an age in seconds.

    ``missing_trigger`` is the reason why there is no token, if there is none. ``same_tokens`` is
    how many further tokens are not renewed early, because the endpoint repeats live ones.
    ``call_seconds`` is the duration of the last successful call, ``lifetime`` that of its token.
    """

    key: TokenKey
    used_at: float
    pinned: bool = False
    held: HeldTokens = field(default_factory=HeldTokens)
    refresh_age: float = 0.0
    failures: int = 0
    error: TokenError | None = None
    retry_at: float = -math.inf
    missing_trigger: Trigger = Trigger.FIRST
    same_tokens: int = 0
    call_seconds: float = 0.0
    lifetime: float = 0.0
    fetch: "asyncio.Task[Token | TokenError] | None" = None

    @property
    def token(self) -> Token | None:
        """The token in use, which may have expired."""
        return self.held.token

    @property
    def is_call_slow(self) -> bool:
        """Whether the last call took so much of its token's lifetime that renewals are late."""
        return self.lifetime > 0 and self.call_seconds >= self.lifetime * SLOW_SHARE

    @property
    def is_between_tokens(self) -> bool:
        """Whether the next token is being fetched after an endpoint that repeats live ones."""
        return self.same_tokens > 0 and self.fetch is not None and self.error is None

    @property
    def is_new(self) -> bool:
        """Whether there has been no token yet."""
        return not self.refresh_age

    def until_due(self, now: Instant) -> float:
        """Return the seconds until a token call is due; infinite while one runs."""
        if self.fetch is not None:
            return math.inf
        wait = self.retry_at - now.monotonic
        newest = self.held.newest
        if newest is not None:
            wait = max(wait, self.refresh_age - now.since(newest.issued))
        return max(wait, 0.0)

    def trigger(self, now: Instant) -> Trigger:
        """Return the trigger of a token call that starts now."""
        token = self.token
        if token is None:
            return self.missing_trigger
        return Trigger.DUE if token.is_alive(now) else Trigger.EXPIRED


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
    bank refused it. With ``can_replace`` false none is, because the source has no other.
    """

    def __init__(
        self,
        source: TokenSource,
        policy: RefreshPolicy,
        *,
        clock: Callable[[], Instant],
        chance: Callable[[], float],
        emit: Callable[[TokenEvent], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        capacity: int = 4096,
        can_replace: bool = True,
    ) -> None:
        self._source = source
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._sleep = sleep
        self._can_replace = can_replace
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
        token = entry.held.token
        if token is None:
            return None
        now = self._clock()
        entry.used_at = now.monotonic
        return token if token.is_alive(now) else None

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
        if entry.held.newer is not None:  # the former token has expired
            entry.held.until_retry(now)
            if entry.token is not None and entry.token.is_alive(now):
                return entry.token
        if entry.fetch is None and entry.error is not None and now.monotonic < entry.retry_at:
            raise entry.error.with_retry_after(entry.retry_at - now.monotonic)
        self.start_refresh(entry)
        assert entry.fetch is not None
        outcome = await asyncio.shield(entry.fetch)
        if isinstance(outcome, TokenError):
            raise outcome.with_retry_after(max(entry.retry_at - self._clock().monotonic, 1.0))
        return outcome

    def reject(self, token: Token) -> Reaction:
        """React to the bank's refusal of ``token`` on a resource call.

        Unless it is ``KEPT``, the next call of ``token`` returns another one.
        """
        entry = self._entries.get(token.key)
        reaction = Reaction.OUTDATED if self._can_replace else Reaction.KEPT
        if entry is not None and self._can_replace:
            reaction = self._react(entry, token)
        self._emit(TokenRejected(token, was_current=reaction is Reaction.DROPPED))
        return reaction

    def accept(self, token: Token) -> None:
        """Note that a request succeeded with ``token`` after another token had been refused."""
        entry = self._entries.get(token.key)
        if entry is not None:
            entry.held.accept(token)

    def _react(self, entry: Entry, token: Token, *, publish: bool = True) -> Reaction:
        was_in_conflict = entry.held.is_in_conflict
        refusal = entry.held.refuse(token, self._clock(), self._policy)
        if refusal.reaction is Reaction.DROPPED:
            entry.missing_trigger = Trigger.REJECTED
            if publish:
                for dropped in refusal.dropped:
                    self.on_rejected(dropped)
        if entry.held.is_in_conflict and not was_in_conflict:
            self._emit(TokenConflict(token.key))
        self.on_change()
        return refusal.reaction

    def peek(self, key: TokenKey) -> Token | None:
        """Return the live token for ``key``, if there is one, without marking it as used."""
        entry = self._entries.get(key)
        if entry is None or entry.token is None or not entry.token.is_alive(self._clock()):
            return None
        return entry.token

    def drop_rejected(self, token: Token) -> None:
        """React to the refusal of ``token`` that another proxy has met."""
        entry = self._entries.get(token.key)
        if entry is not None and entry.token is token:
            self._react(entry, token, publish=False)

    def install(self, token: Token, *, unless_known: bool = False) -> None:
        """Store a token; with ``unless_known`` only if there is none."""
        entry = self._entry(token.key)
        if not (unless_known and entry.token is not None):
            entry.held.install(token, self._clock(), self._policy)
            entry.refresh_age = self._policy.refresh_age(token.lifetime, self._chance())
            if entry.same_tokens:
                entry.same_tokens -= 1
                entry.refresh_age = token.lifetime
            entry.failures, entry.error, entry.retry_at = 0, None, -math.inf
            self.on_change()

    def adopt(self, other: Entry, *, keeps_failures: bool) -> None:
        """Take over token and last use of a replaced cache's entry; its failures for equal logins.

        A token that is here already is kept.
        """
        has_failed = keeps_failures and other.error is not None
        if other.token is None and not has_failed:
            return
        entry = self._entry(other.key)
        entry.used_at = other.used_at
        if other.token is not None:
            self.install(other.token, unless_known=True)
        if has_failed and entry.token is other.token:
            entry.failures, entry.error, entry.retry_at = (
                other.failures,
                other.error,
                other.retry_at,
            )

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
                entry.held.keeps_former = False  # it may be another user's
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
            outcome: Token | TokenError = await self._ask(entry)
        except TokenError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - one failure must not end all refreshing
            outcome = TokenError(kinds.TOKEN_INTERNAL)
            outcome.__cause__ = error
        finally:
            entry.fetch = None
        seconds = self._clock().since(started)
        if isinstance(outcome, TokenError):
            self._record_failure(entry, outcome, seconds, trigger)
        elif self._is_unchanged(entry, outcome):
            outcome = self._keep_unchanged(entry, outcome, seconds)
        else:
            self.record_refresh(
                outcome, seconds, Trigger.SHARED if outcome.is_from_store else trigger
            )
        self.on_change()
        return outcome

    async def _ask(self, entry: Entry) -> Token:
        """Ask the source for a token, again if it has less than a second left."""
        token = entry.token
        if entry.same_tokens and token is not None and not token.is_alive(self._clock()):
            # Issued after the call began, it ends as much later for the bank, which repeats it.
            await self._sleep(min(entry.call_seconds, EXPIRING_WAIT))
        calls = 0
        while True:
            calls += 1
            try:
                token = await self._source.token(entry.key)
            except TokenExpiringError as error:
                if calls == EXPIRING_CALLS:
                    raise
                await self._sleep(error.left or EXPIRING_WAIT)
            else:
                self._check_speed(entry, token)
                return self._check_alive(token)

    def _check_speed(self, entry: Entry, token: Token) -> None:
        if token.is_from_store or self._is_unchanged(entry, token):
            return
        was_slow = entry.is_call_slow
        entry.call_seconds = self._clock().since(token.issued)
        entry.lifetime = token.lifetime
        if entry.is_call_slow and not was_slow:
            self._emit(TokenCallSlow(entry.key, entry.call_seconds, token.lifetime))

    def _is_unchanged(self, entry: Entry, token: Token) -> bool:
        """Whether the endpoint has handed out the live token again."""
        newest = entry.held.newest
        return newest is not None and newest.text == token.text and newest.is_alive(self._clock())

    def _keep_unchanged(self, entry: Entry, token: Token, seconds: float) -> Token:
        """Keep the token until its end, because there is no other before.

        Its end is the earlier of those reported, without a difference that rounding explains.
        """
        now, known = self._clock(), entry.held.newest
        assert known is not None
        if token.remaining(now) < known.remaining(now) - 1:
            entry.held.shorten(token)
            known = token
        entry.same_tokens, entry.refresh_age = SAME_TOKEN_MEMORY, known.lifetime
        entry.failures, entry.error, entry.retry_at = 0, None, -math.inf
        self._emit(TokenUnchanged(known, seconds, known.remaining(now)))
        return known

    def _check_alive(self, token: Token) -> Token:
        # The call took longer than the token's lifetime, or the machine was suspended meanwhile.
        if not token.is_alive(self._clock()):
            seconds = self._clock().since(token.issued)
            detail = f"The token expired before it arrived: {slow_token(seconds, token.lifetime)}"
            raise TokenError(kinds.TOKEN_SLOW, detail)
        return token

    def _record_failure(
        self, entry: Entry, error: TokenError, seconds: float, trigger: Trigger
    ) -> None:
        entry.error = error
        if error.is_shared:
            # The proxy that met it counts it; else each would double the wait of the whole fleet.
            delay = self._policy.shared_delay(error.retry_after or 0.0, self._chance())
        else:
            entry.failures += 1
            delay = self._policy.retry_delay(
                error.reason,
                entry.failures,
                self._chance(),
                error.retry_after,
                first=entry.is_new,
            )
        entry.retry_at = self._clock().monotonic + delay
        self._emit(TokenRefreshFailed(entry.key, error, seconds, entry.failures, delay, trigger))
