"""The token source that asks the fleet's store before it asks the bank.

It wraps the bank's endpoint and is wrapped by the cache. Who asks, who waits, and why, is decided
in ``lease_policy``; what goes wrong with the store never goes further than here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from proxy.errors import TokenError
from proxy.tasks import Tasks
from proxy.tokens.fleet.encryption import Name, SealedRefusal, SealedToken, Seals
from proxy.tokens.fleet.events import Origin, StoreFact, TokenShared
from proxy.tokens.fleet.lease_policy import SharingPolicy, Step, View, Wish, binds_all
from proxy.tokens.fleet.records import Records
from proxy.tokens.fleet.script import Seen
from proxy.tokens.fleet.store import Store, StoreError
from proxy.tokens.token import Moment, RefreshPolicy, Token, TokenKey, TokenSource

REFUSAL_MEMORY = 600.0
"""Seconds that a refusal is kept after it has ceased to bind, so that the next one doubles it."""


class News(NamedTuple):
    """What the store shows to one who only follows: whether our token is rejected, and a newer."""

    rejected: bool = False
    newer: Token | None = None


@dataclass(slots=True)
class _Turn:
    """One wish for a token, from its beginning to its end.

    ``held`` is the token to be replaced, if there is one; ``blind`` is since when the store has
    been of no use to it.
    """

    key: TokenKey
    name: Name
    held: Token | None
    began: Moment
    chance: float
    looks: int = 0
    blind: Moment | None = None


class SharedTokens:
    """Wraps another token source. ``name_for`` returns None for tokens that are not shared.

    ``in_hand`` returns the live token that a key has in the cache, and is set by whoever puts the
    cache around this.
    """

    def __init__(
        self,
        source: TokenSource,
        store: Store,
        seals: Seals,
        *,
        name_for: Callable[[TokenKey], Name | None],
        policy: SharingPolicy,
        refresh: RefreshPolicy,
        clock: Callable[[], Moment],
        chance: Callable[[], float],
        emit: Callable[[StoreFact], None],
    ) -> None:
        self._source = source
        self._store = store
        self._seals = seals
        self._records = Records(seals, emit)
        self._name_for = name_for
        self._policy = policy
        self._refresh = refresh
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._tasks = Tasks("shared")
        self._rejected: dict[TokenKey, tuple[str, ...]] = {}
        self._private: dict[TokenKey, Token] = {}
        self._hurry: dict[TokenKey, asyncio.Event] = {}
        self.in_hand: Callable[[TokenKey], Token | None] = lambda _key: None

    async def token(self, key: TokenKey) -> Token:
        """Return a live token: another's, or one that we get for all. Raises ``TokenError``."""
        name = self._name_for(key)
        if name is None:
            return await self._source.token(key)
        turn = _Turn(key, name, self.in_hand(key), self._clock(), self._chance())
        while True:
            newer = self.in_hand(key)
            if newer is not None and newer is not turn.held:  # somebody followed meanwhile
                return self._came(turn, newer, Origin.TAKEN)
            wish = self._wish(turn)
            try:
                token = await self._with_store(turn, wish)
            except StoreError:
                token = await self._without_store(turn, wish)
            if token is not None:
                return token
            await self._rest(turn, wish)

    def is_shared(self, token: Token) -> bool:
        """Whether others may be using this token too, so that it is not ours to revoke."""
        name = self._name_for(token.key)
        return name is not None and self._private.get(token.key) is not token

    def reject(self, token: Token) -> None:
        """Let no proxy take this token any more, because the bank has refused it."""
        name = self._name_for(token.key)
        if name is None:
            return
        digest = name.digest(token.text)
        self._rejected[token.key] = (digest, *self._rejected.get(token.key, ()))[:8]
        if event := self._hurry.get(token.key):
            event.set()
        if self._private.get(token.key) is not token:
            life = max(token.remaining(self._clock()), 1.0)
            self._tasks.keep("reject", self._tell_rejected(name, digest, life))

    @property
    def unopened(self) -> int:
        """How many entries there are, in all records, that do not open."""
        return self._records.unopened

    async def news(self, key: TokenKey) -> News:
        """Look whether the store has something better than the token in hand."""
        name = self._name_for(key)
        if name is None:
            return News()
        sent = self._clock()
        try:
            seen = await self._store.look(name.text, self._seals.key_ids)
        except StoreError:
            return News()
        held = self.in_hand(key)
        rejected = held is not None and name.digest(held.text) in seen.rejected
        newer = self._best(key, name, seen, sent, held)
        left = held.remaining(self._clock()) if held is not None and not rejected else 0.0
        if newer is not None and newer.remaining(self._clock()) <= left:
            newer = None
        return News(rejected, newer)

    async def close(self) -> None:
        """End what is in flight, and let the store go."""
        await self._tasks.cancel()
        await self._store.close()

    async def _with_store(self, turn: _Turn, wish: Wish) -> Token | None:
        """Do what the record says. Returns None to wait; raises ``StoreError``, ``TokenError``."""
        sent = self._clock()
        seen = await self._store.look(turn.name.text, self._seals.key_ids)
        step = self._decide(turn, wish, seen, sent)
        if step is Step.LEASE:
            sent = self._clock()
            seen = await self._store.lease(turn.name.text, self._policy.lease, self._seals.key_ids)
            # The record as it was then: another may have been quicker.
            step = self._decide(turn, wish, seen, sent)
            if seen.number and step is Step.LEASE:
                return await self._fetch(turn, seen)
            if seen.number:
                await self._give_back(turn, seen, 0.0)
        turn.blind = None
        match step:
            case Step.TAKE:
                token = self._best(turn.key, turn.name, seen, sent, turn.held)
                return None if token is None else self._came(turn, token, Origin.TAKEN)
            case Step.REFUSE:
                raise self._refused(turn, seen)
            case Step.ALONE:
                return await self._alone(turn)
        return None

    def _decide(self, turn: _Turn, wish: Wish, seen: Seen, sent: Moment) -> Step:
        token = self._best(turn.key, turn.name, seen, sent, turn.held)
        offered = token.remaining(self._clock()) if token is not None else 0.0
        refusal = self._refusal(turn, seen)
        refused = refusal.until - seen.now if refusal is not None else 0.0
        refused = min(max(refused, 0.0), self._refresh.retry_after_max)
        return self._policy.decide(View(offered, seen.leased, refused), wish)

    async def _without_store(self, turn: _Turn, wish: Wish) -> Token | None:
        now = self._clock()
        turn.blind = turn.blind or now
        if self._policy.decide_blind(wish, now.since(turn.blind)) is Step.ALONE:
            return await self._alone(turn)
        return None

    async def _alone(self, turn: _Turn) -> Token:
        token = await self._source.token(turn.key)
        self._private[turn.key] = token
        return self._came(turn, token, Origin.ALONE)

    async def _fetch(self, turn: _Turn, seen: Seen) -> Token:
        """Ask the bank for all, holding the lease meanwhile. Raises ``TokenError``."""
        leased = self._clock()
        keeper = self._tasks.spawn("lease", self._hold(turn.name.text, seen.number))
        try:
            token = await self._source.token(turn.key)
        except TokenError as error:
            self._tell(turn, Origin.FAILED)
            await self._give_back_refused(turn, seen, self._clock().since(leased), error)
            raise
        finally:
            keeper.cancel()
        return self._came(turn, token, await self._publish(turn, seen, token))

    async def _publish(self, turn: _Turn, seen: Seen, token: Token) -> Origin:
        sealed = SealedToken(token.text, token.lifetime, seen.now, token.issued.wall)
        entry = self._seals.seal_token(turn.name, sealed)
        left = max(token.remaining(self._clock()), 0.0)
        try:
            written = await self._store.write(
                turn.name.text, seen.number, self._seals.key_id, entry, left
            )
        except StoreError:
            written = None
        # Not known to be written may still mean written, so only what surely was not is private.
        if written is False:
            self._private[turn.key] = token
        return Origin.FETCHED if written else Origin.UNSHARED

    async def _hold(self, name: str, number: int) -> None:
        while True:
            await asyncio.sleep(self._policy.renew_every())
            with suppress(StoreError):
                if not await self._store.renew(name, number, self._policy.lease):
                    return

    async def _give_back_refused(
        self, turn: _Turn, seen: Seen, seconds: float, error: TokenError
    ) -> None:
        if not binds_all(error.reason):
            await self._give_back(turn, seen, self._policy.pause)
            return
        last = self._refusal(turn, seen)
        failures = (last.failures if last is not None else 0) + 1
        delay = self._refresh.retry_delay(error.reason, failures, self._chance(), error.retry_after)
        until = seen.now + seconds + delay
        refusal = SealedRefusal(error.reason, error.code or "", failures, until)
        sealed = self._seals.seal_refusal(turn.name, refusal)
        await self._give_back(turn, seen, 0.0, sealed, delay + REFUSAL_MEMORY)

    async def _give_back(
        self, turn: _Turn, seen: Seen, pause: float, refusal: bytes = b"", seconds: float = 0.0
    ) -> None:
        with suppress(StoreError):  # it runs out by itself
            _ = await self._store.release(turn.name.text, seen.number, pause, refusal, seconds)

    async def _tell_rejected(self, name: Name, digest: str, seconds: float) -> None:
        with suppress(StoreError):  # we ourselves take it no more, and the others find out
            await self._store.reject(name.text, digest, seconds)

    def _refused(self, turn: _Turn, seen: Seen) -> TokenError:
        refusal = self._refusal(turn, seen)
        assert refusal is not None
        self._tell(turn, Origin.REFUSED)
        return TokenError(
            refusal.reason,
            "The bank refused another proxy of the fleet, and would refuse this one too.",
            code=refusal.code or None,
            retry_after=refusal.until - seen.now,
        )

    def _refusal(self, turn: _Turn, seen: Seen) -> SealedRefusal | None:
        return self._records.refusal(turn.key, turn.name, seen)

    def _best(
        self, key: TokenKey, name: Name, seen: Seen, sent: Moment, held: Token | None
    ) -> Token | None:
        """Return the best token of a record that is neither ``held`` nor rejected."""
        ours = () if held is None else (name.digest(held.text),)
        unwanted = {*seen.rejected, *self._rejected.get(key, ()), *ours}
        return self._records.best(key, name, seen, unwanted, sent=sent, now=self._clock())

    def _wish(self, turn: _Turn) -> Wish:
        now = self._clock()
        held = turn.held if turn.held is self.in_hand(turn.key) else None
        left = max(held.remaining(now), 0.0) if held is not None else 0.0
        return Wish(left, now.since(turn.began), turn.chance)

    async def _rest(self, turn: _Turn, wish: Wish) -> None:
        """Wait for the next look, less long when the token in hand is rejected meanwhile."""
        event = self._hurry.setdefault(turn.key, asyncio.Event())
        event.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    self._policy.next_look(wish, turn.looks, self._chance())
                ):
                    await event.wait()
        finally:
            self._hurry.pop(turn.key, None)
        turn.looks += 1

    def _came(self, turn: _Turn, token: Token, origin: Origin) -> Token:
        self._tell(turn, origin)
        return token

    def _tell(self, turn: _Turn, origin: Origin) -> None:
        self._emit(TokenShared(turn.key, origin, self._clock().since(turn.began)))
