"""Decrypts records, and reports each entry that cannot be decrypted once."""

from collections.abc import Callable, Collection

from proxy.tokens.fleet.encryption import DecryptError, EntryCipher, RecordName, RefusalEntry
from proxy.tokens.fleet.events import DecryptFailed
from proxy.tokens.fleet.script import Record
from proxy.tokens.token import Instant, Token, TokenKey

REFUSAL = "refusal"
UNKNOWN_KEYS = "another"
"""Places in a record besides the ids of known keys: the refusal, and entries of unknown keys."""


class RecordReader:
    """Decrypts records with ``cipher``; ``emit`` gets entries that cannot be decrypted."""

    def __init__(self, cipher: EntryCipher, emit: Callable[[DecryptFailed], None]) -> None:
        self._cipher = cipher
        self._emit = emit
        self._undecryptable: dict[tuple[TokenKey, str], bytes] = {}
        self._known: dict[tuple[TokenKey, str], tuple[bytes, float]] = {}

    @property
    def undecryptable_count(self) -> int:
        """Number of entries, in all records, that cannot be decrypted."""
        return len(self._undecryptable)

    def best_token(
        self,
        key: TokenKey,
        name: RecordName,
        record: Record,
        unwanted: Collection[str],
        *,
        requested_at: Instant,
        now: Instant,
    ) -> Token | None:
        """Return the record's live token with the longest remaining life, if there is one.

        ``unwanted`` are digests, ``requested_at`` is when the read was sent to the store.
        """
        self._forget(key, record)
        best: Token | None = None
        for key_id, entry in record.entries.items():
            token = self._decrypt(key, name, record, requested_at, key_id, entry)
            if (
                token is not None
                and token.is_alive(now)
                and name.digest(token.text) not in unwanted
                and (best is None or token.remaining(now) > best.remaining(now))
            ):
                best = token
        return best

    def refusal(self, key: TokenKey, name: RecordName, record: Record) -> RefusalEntry | None:
        """Return the bank's last refusal, if it is in the record."""
        if not record.refusal:
            return None
        try:
            return self._cipher.decrypt_refusal(name, record.refusal)
        except DecryptError as error:
            self._report(key, REFUSAL, record.refusal, error)
            return None

    def _decrypt(
        self,
        key: TokenKey,
        name: RecordName,
        record: Record,
        requested_at: Instant,
        key_id: str,
        entry: bytes,
    ) -> Token | None:
        try:
            content = self._cipher.decrypt_token(name, key_id, entry)
        except DecryptError as error:
            self._report(key, key_id, entry, error)
            return None
        age = record.now - content.leased_at
        if age < 0:  # a primary with a clock behind has taken over, so the age is not known
            return None
        known, issued_at = self._known.get((key, key_id), (b"", 0.0))
        if known == entry:  # the store's clock may have been set back since
            age = max(age, requested_at.monotonic - issued_at)
        self._known[key, key_id] = entry, requested_at.monotonic - age
        issued = Instant(requested_at.monotonic - age, requested_at.wall - age)
        return Token(key, content.text, issued, content.lifetime, is_from_store=True)

    def _forget(self, key: TokenKey, record: Record) -> None:
        """Drop entries from the list of undecryptable ones that are no longer in the record."""
        present = {
            **record.entries,
            REFUSAL: record.refusal,
            UNKNOWN_KEYS: b"" if record.has_unknown_entries else None,
        }
        for at, entry in list(self._undecryptable.items()):
            if at[0] == key and present.get(at[1]) != entry:
                del self._undecryptable[at]
        if record.has_unknown_entries:
            self._report(key, UNKNOWN_KEYS, b"", DecryptError("key"))

    def _report(self, key: TokenKey, place: str, entry: bytes, error: DecryptError) -> None:
        """Emit ``DecryptFailed`` once for each entry."""
        if self._undecryptable.get((key, place)) != entry:
            self._undecryptable[key, place] = entry
            self._emit(DecryptFailed(key, error.args[0]))
