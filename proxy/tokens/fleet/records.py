"""PURE: what stands in records, opened; and what there does not open, told of once."""

from collections.abc import Callable, Collection

from proxy.tokens.fleet.encryption import Name, SealedRefusal, Seals, UnopenedError
from proxy.tokens.fleet.events import EntryUnopened
from proxy.tokens.fleet.script import Seen
from proxy.tokens.token import Moment, Token, TokenKey

REFUSAL = "refusal"
STRANGE = "another"
"""Places in a record, besides the ids of our keys: where a refusal stands, and where stands what
was sealed with keys that we do not have."""


class Records:
    """Opens records with ``seals``. ``unopened`` is how many entries there are that do not open."""

    def __init__(self, seals: Seals, emit: Callable[[EntryUnopened], None]) -> None:
        self._seals = seals
        self._emit = emit
        self._unopened: dict[tuple[TokenKey, str], bytes] = {}

    @property
    def unopened(self) -> int:
        """How many entries there are, in all records, that do not open."""
        return len(self._unopened)

    def best(
        self,
        key: TokenKey,
        name: Name,
        seen: Seen,
        unwanted: Collection[str],
        *,
        sent: Moment,
        now: Moment,
    ) -> Token | None:
        """Return the token that lives longest in a record, if any lives, as another's.

        ``unwanted`` are digests, ``sent`` is when the store was asked for the record.
        """
        self._forget(key, seen)
        found: Token | None = None
        for key_id, entry in seen.entries.items():
            token = self._open(key, name, seen, sent, key_id, entry)
            if (
                token is not None
                and token.is_alive(now)
                and name.digest(token.text) not in unwanted
                and (found is None or token.remaining(now) > found.remaining(now))
            ):
                found = token
        return found

    def refusal(self, key: TokenKey, name: Name, seen: Seen) -> SealedRefusal | None:
        """Return the bank's last answer without a token, if it is in the record."""
        if not seen.refusal:
            return None
        try:
            return self._seals.open_refusal(name, seen.refusal)
        except UnopenedError as error:
            self._note(key, REFUSAL, seen.refusal, error)
            return None

    def _open(
        self, key: TokenKey, name: Name, seen: Seen, sent: Moment, key_id: str, entry: bytes
    ) -> Token | None:
        try:
            sealed = self._seals.open_token(name, key_id, entry)
        except UnopenedError as error:
            self._note(key, key_id, entry, error)
            return None
        age = sealed.age(seen.now, sent.wall)
        issued = Moment(sent.monotonic - age, sent.wall - age)
        return Token(key, sealed.text, issued, sealed.lifetime, taken=True)

    def _forget(self, key: TokenKey, seen: Seen) -> None:
        """Forget what did not open and stands there no more."""
        there = {**seen.entries, REFUSAL: seen.refusal, STRANGE: b"" if seen.strange else None}
        for at, entry in list(self._unopened.items()):
            if at[0] == key and there.get(at[1]) != entry:
                del self._unopened[at]
        if seen.strange:
            self._note(key, STRANGE, b"", UnopenedError("key"))

    def _note(self, key: TokenKey, place: str, entry: bytes, error: UnopenedError) -> None:
        """Tell of each such entry once, however often it is looked at."""
        if self._unopened.get((key, place)) != entry:
            self._unopened[key, place] = entry
            self._emit(EntryUnopened(key, error.args[0]))
