"""The token source that reads the store before it calls the bank.

It wraps the bank's endpoint and is wrapped by the cache. ``lease_policy`` decides whether to call
the bank or to wait. Errors of the store are handled here and never reach the caller.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from proxy.errors import TokenError, kinds
from proxy.tasks import Tasks
from proxy.tokens.fleet.encryption import EntryCipher, RecordName, RefusalEntry, TokenEntry
from proxy.tokens.fleet.events import AcquisitionSource, StoreEvent, TokenAcquired
from proxy.tokens.fleet.lease_policy import (
    LeasePolicy,
    Need,
    NextAction,
    StoreState,
    failures_of_fleet,
)
from proxy.tokens.fleet.records import RecordReader
from proxy.tokens.fleet.script import Record
from proxy.tokens.fleet.store import Store, StoreError
from proxy.tokens.refresh_policy import RETRY_AFTER_MAX, RefreshPolicy
from proxy.tokens.token import Instant, Token, TokenKey, TokenSource
from proxy.tokens.token_response import TokenExpiringError

REFUSAL_MEMORY = 600.0
"""Seconds that a refusal is kept after it has expired, so that the next one doubles its delay."""


class StoreUpdate(NamedTuple):
    """The store's news on a key: whether the cached token is rejected, and a newer token."""

    is_rejected: bool = False
    newer_token: Token | None = None


@dataclass(slots=True)
class FetchAttempt:
    """One call of ``SharedTokenSource.token``.

    ``held_token`` is the token to be replaced, if there is one; ``chance`` in [0, 1) is drawn once;
    ``store_lost_at`` is the first failure of the store, if it has not worked since, ``starved_at``
    when there was no token any more. ``may_hold_lease``: a request for the lease was not answered.
    """

    key: TokenKey
    name: RecordName
    held_token: Token | None
    started_at: Instant
    chance: float
    polls: int = 0
    store_lost_at: Instant | None = None
    starved_at: Instant | None = None
    may_hold_lease: bool = False


class SharedTokenSource:
    """Wraps another token source. ``name_for`` returns None for tokens that are not shared.

    ``cached_token`` returns a key's live token in the cache; it is set when the cache is built.
    """

    def __init__(
        self,
        source: TokenSource,
        store: Store,
        cipher: EntryCipher,
        *,
        name_for: Callable[[TokenKey], RecordName | None],
        policy: LeasePolicy,
        refresh: RefreshPolicy,
        clock: Callable[[], Instant],
        chance: Callable[[], float],
        emit: Callable[[StoreEvent], None],
    ) -> None:
        self._source = source
        self._store = store
        self._cipher = cipher
        self._reader = RecordReader(cipher, emit)
        self._name_for = name_for
        self._policy = policy
        self._refresh_policy = refresh
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._owner = f"{int(chance() * 2**53):014x}"
        self._tasks = Tasks("shared")
        self._rejected: dict[TokenKey, tuple[str, ...]] = {}
        self._private: dict[TokenKey, Token] = {}
        self._wake_events: dict[TokenKey, asyncio.Event] = {}
        self.cached_token: Callable[[TokenKey], Token | None] = lambda _key: None

    async def token(self, key: TokenKey) -> Token:
        """Return a live token, from the store or from the bank. Raises ``TokenError``."""
        name = self._name_for(key)
        if name is None:
            return await self._source.token(key)
        attempt = FetchAttempt(key, name, self.cached_token(key), self._clock(), self._chance())
        while True:
            newer = self.cached_token(key)
            if newer is not None and newer is not attempt.held_token:  # from the follower
                return self._acquired(attempt, newer, AcquisitionSource.SHARED)
            need = self._need(attempt)
            try:
                token = await self._with_store(attempt, need)
            except StoreError:
                token = await self._without_store(attempt, need)
            if token is not None:
                return token
            await self._wait_for_poll(attempt, need)

    def shares(self, key: TokenKey) -> bool:
        """Whether the tokens of a key are shared."""
        return self._name_for(key) is not None

    def is_shared(self, token: Token) -> bool:
        """Whether other proxies may use this token, so that it must not be revoked here."""
        name = self._name_for(token.key)
        return name is not None and self._private.get(token.key) is not token

    def reject(self, token: Token) -> None:
        """Mark a token that the bank has refused as rejected, here and in the store."""
        name = self._name_for(token.key)
        if name is None:
            return
        digest = name.digest(token.text)
        self._rejected[token.key] = (digest, *self._rejected.get(token.key, ()))[:8]
        if event := self._wake_events.get(token.key):
            event.set()
        if self._private.get(token.key) is not token:
            life = max(token.remaining(self._clock()), 1.0)
            self._tasks.spawn_background("reject", self._publish_rejection(name, digest, life))

    @property
    def undecryptable_count(self) -> int:
        """Number of entries, in all records, that cannot be decrypted."""
        return self._reader.undecryptable_count

    async def poll(self, key: TokenKey) -> StoreUpdate:
        """Compare the store's record of a key with the cached token."""
        name = self._name_for(key)
        if name is None:
            return StoreUpdate()
        requested_at = self._clock()
        try:
            record = await self._store.read(name.text, self._cipher.key_ids)
        except StoreError:
            return StoreUpdate()
        current = self.cached_token(key)
        rejected = current is not None and name.digest(current.text) in record.rejected_digests
        newer = self._best_token(key, name, record, requested_at, current)
        left = current.remaining(self._clock()) if current is not None and not rejected else 0.0
        if newer is not None and newer.remaining(self._clock()) <= left:
            newer = None
        return StoreUpdate(rejected, newer)

    async def close(self) -> None:
        """Cancel running operations; the store stays open."""
        await self._tasks.cancel()

    async def _with_store(self, attempt: FetchAttempt, need: Need) -> Token | None:
        """Act on the record. Returns None to wait; raises ``StoreError``, ``TokenError``."""
        requested_at = self._clock()
        record = await (self._lease(attempt) if attempt.may_hold_lease else self._read(attempt))
        action = self._decide(attempt, need, record, requested_at)
        if action is NextAction.LEASE and not record.number:
            requested_at = self._clock()
            record = await self._lease(attempt)
            # Decide again by the record at that moment: another proxy may have been faster.
            action = self._decide(attempt, need, record, requested_at)
        if record.number:
            if action is NextAction.LEASE:
                return await self._fetch(attempt, record)
            await self._release_lease(attempt, record)
        attempt.store_lost_at = None
        match action:
            case NextAction.USE_SHARED:
                token = self._best_token(
                    attempt.key, attempt.name, record, requested_at, attempt.held_token
                )
                return (
                    None
                    if token is None
                    else self._acquired(attempt, token, AcquisitionSource.SHARED)
                )
            case NextAction.REFUSE:
                raise self._refused_error(attempt, record)
            case NextAction.TIME_OUT:
                raise self._timed_out_error(attempt)
        return None

    async def _read(self, attempt: FetchAttempt) -> Record:
        return await self._store.read(attempt.name.text, self._cipher.key_ids)

    async def _lease(self, attempt: FetchAttempt) -> Record:
        """Request the lease. After an error the next request gets it, if the store had given it."""
        attempt.may_hold_lease = True
        record = await self._store.lease(
            attempt.name.text, self._owner, self._policy.first_lease, self._cipher.key_ids
        )
        attempt.may_hold_lease = False
        return record

    def _decide(
        self, attempt: FetchAttempt, need: Need, record: Record, requested_at: Instant
    ) -> NextAction:
        token = self._best_token(
            attempt.key, attempt.name, record, requested_at, attempt.held_token
        )
        offered = token.remaining(self._clock()) if token is not None else 0.0
        refusal = self._refusal(attempt, record)
        refused = refusal.until - record.now if refusal is not None else 0.0
        refused = min(max(refused, 0.0), RETRY_AFTER_MAX)
        is_probe = refusal is not None and refusal.failures > 0
        state = StoreState(offered, record.lease_left, refused, is_probe)
        return self._policy.decide(state, need)

    async def _without_store(self, attempt: FetchAttempt, need: Need) -> Token | None:
        now = self._clock()
        attempt.store_lost_at = attempt.store_lost_at or now
        match self._policy.decide_without_store(need, now.since(attempt.store_lost_at)):
            case NextAction.FETCH_DIRECTLY:
                return await self._fetch_directly(attempt)
            case NextAction.TIME_OUT:
                raise self._timed_out_error(attempt)
        return None

    async def _fetch_directly(self, attempt: FetchAttempt) -> Token:
        try:
            token = await self._call_bank(attempt, self._need(attempt))
        except TokenError:
            if (shared := await self._fetched_by_another(attempt)) is not None:
                return shared
            raise
        self._private[attempt.key] = token
        return self._acquired(attempt, token, AcquisitionSource.DIRECT)

    async def _fetch(self, attempt: FetchAttempt, record: Record) -> Token:
        """Fetch a token for the fleet while holding the lease. Raises ``TokenError``."""
        leased, need = self._clock(), self._need(attempt)
        keeper = self._tasks.spawn("lease", self._keep_lease(attempt.name.text, record.number))
        try:
            token = await self._call_bank(attempt, need)
        except TokenExpiringError:  # no failure: the cache asks again within a second
            await self._release_lease(attempt, record)
            raise
        except TokenError as error:
            seconds = self._clock().since(leased)
            was_held = await self._release_failed(attempt, need, record, seconds, error)
            if not was_held and (shared := await self._fetched_by_another(attempt)) is not None:
                return shared
            self._emit_acquired(attempt, AcquisitionSource.FAILED)
            raise
        finally:
            keeper.cancel()
        return self._acquired(attempt, token, await self._publish(attempt, record, token))

    async def _call_bank(self, attempt: FetchAttempt, need: Need) -> Token:
        """Call the bank, in the time that waiting for the store has left. Raises ``TokenError``."""
        if need.waited < self._policy.first_poll:  # the source has a time limit of its own
            return await self._source.token(attempt.key)
        try:
            async with asyncio.timeout(self._policy.call_time(need)):
                return await self._source.token(attempt.key)
        except TimeoutError:
            raise TokenError(kinds.TOKEN_TIMEOUT) from None

    async def _fetched_by_another(self, attempt: FetchAttempt) -> Token | None:
        """Return the token that another proxy has fetched while this one's call failed.

        So it does after this process or its lease was suspended.
        """
        requested_at = self._clock()
        try:
            record = await self._read(attempt)
        except StoreError:
            return None
        token = self._best_token(
            attempt.key, attempt.name, record, requested_at, attempt.held_token
        )
        if token is None:
            return None
        return self._acquired(attempt, token, AcquisitionSource.SHARED)

    async def _publish(
        self, attempt: FetchAttempt, record: Record, token: Token
    ) -> AcquisitionSource:
        content = TokenEntry(token.text, token.lifetime, record.now)
        entry = self._cipher.encrypt_token(attempt.name, content)
        left = max(token.remaining(self._clock()), 0.0)
        try:
            written = await self._store.write(
                attempt.name.text, record.number, self._cipher.key_id, entry, left
            )
        except StoreError:
            written = None
        # After an error the token may have been written, so only a refused write makes it private.
        if written is False:
            self._private[attempt.key] = token
        return AcquisitionSource.FETCHED if written else AcquisitionSource.UNCACHED

    async def _keep_lease(self, name: str, number: int) -> None:
        while True:
            with suppress(StoreError):
                if not await self._store.renew(name, number, self._policy.lease):
                    return
            await asyncio.sleep(self._policy.renew_interval())

    async def _release_failed(
        self, attempt: FetchAttempt, need: Need, record: Record, seconds: float, error: TokenError
    ) -> bool:
        """Release the lease ``seconds`` after it was granted; return whether it was still held."""
        is_cut_short = self._policy.call_time(need) < self._policy.max_wait / 2
        if is_cut_short and error.reason is kinds.TOKEN_TIMEOUT:
            return await self._release_lease(attempt, record)
        failures = failures_of_fleet(self._refusal(attempt, record), error.reason, self._owner)
        delay = 0.0
        if failures:
            delay = self._policy.probe_delay(
                self._refresh_policy,
                error.reason,
                failures,
                self._chance(),
                error.retry_after,
                first=attempt.held_token is None and not record.entries,
            )
        until = record.now + seconds + delay
        refusal = RefusalEntry(error.reason, error.code or "", failures, until, self._owner)
        entry_content = self._cipher.encrypt_refusal(attempt.name, refusal)
        return await self._release_lease(attempt, record, entry_content, delay + REFUSAL_MEMORY)

    async def _release_lease(
        self, attempt: FetchAttempt, record: Record, refusal: bytes = b"", seconds: float = 0.0
    ) -> bool:
        try:
            return await self._store.release(attempt.name.text, record.number, refusal, seconds)
        except StoreError:  # it expires by itself
            return False

    async def _publish_rejection(self, name: RecordName, digest: str, seconds: float) -> None:
        with suppress(StoreError):  # then the other proxies learn it from the bank
            await self._store.reject(name.text, digest, seconds)

    def _refused_error(self, attempt: FetchAttempt, record: Record) -> TokenError:
        refusal = self._refusal(attempt, record)
        assert refusal is not None
        self._emit_acquired(attempt, AcquisitionSource.REFUSED)
        return TokenError(
            refusal.reason,
            "The bank refused another proxy of the fleet, which applies to this one too.",
            code=refusal.code or None,
            retry_after=max(refusal.until - record.now, self._policy.probe_wait),
            is_shared=True,
        )

    def _timed_out_error(self, attempt: FetchAttempt) -> TokenError:
        self._emit_acquired(attempt, AcquisitionSource.REFUSED)
        return TokenError(
            kinds.TOKEN_TIMEOUT,
            "No proxy of the fleet got a token in time.",
            retry_after=self._policy.probe_wait,
            is_shared=True,
        )

    def _refusal(self, attempt: FetchAttempt, record: Record) -> RefusalEntry | None:
        return self._reader.refusal(attempt.key, attempt.name, record)

    def _best_token(
        self,
        key: TokenKey,
        name: RecordName,
        record: Record,
        requested_at: Instant,
        current: Token | None,
    ) -> Token | None:
        """Return the best token of a record that is neither ``current`` nor rejected."""
        own_digests = () if current is None else (name.digest(current.text),)
        unwanted = {*record.rejected_digests, *self._rejected.get(key, ()), *own_digests}
        return self._reader.best_token(
            key, name, record, unwanted, requested_at=requested_at, now=self._clock()
        )

    def _need(self, attempt: FetchAttempt) -> Need:
        now = self._clock()
        current = (
            attempt.held_token if attempt.held_token is self.cached_token(attempt.key) else None
        )
        left = max(current.remaining(now), 0.0) if current is not None else 0.0
        attempt.starved_at = None if left > 0 else attempt.starved_at or now
        waited = now.since(attempt.starved_at) if attempt.starved_at is not None else 0.0
        return Need(left, waited, attempt.chance)

    async def _wait_for_poll(self, attempt: FetchAttempt, need: Need) -> None:
        """Wait until the next poll, or until the held token is rejected."""
        event = self._wake_events.setdefault(attempt.key, asyncio.Event())
        event.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    self._policy.next_poll(need, attempt.polls, self._chance())
                ):
                    await event.wait()
        finally:
            self._wake_events.pop(attempt.key, None)
        attempt.polls += 1

    def _acquired(self, attempt: FetchAttempt, token: Token, source: AcquisitionSource) -> Token:
        self._emit_acquired(attempt, source)
        return token

    def _emit_acquired(self, attempt: FetchAttempt, source: AcquisitionSource) -> None:
        self._emit(TokenAcquired(attempt.key, source, self._clock().since(attempt.started_at)))
