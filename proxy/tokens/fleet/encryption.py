"""PURE: what the store gets to see: names that tell nothing, and entries that only we can open.

**Names.** The record of a token key is named by an HMAC whose key is the application's secret, over
all that decides which token it is: the bank's address, generation, institution, client id, scopes
and kind of login. So proxies share exactly if the bank would give them the same, other credentials
mean another record, and without the secret nobody can tell whose record it is. A token's digest,
by which a rejected one is known, is an HMAC under the same key.

**Entries** are sealed with AES-256-GCM and a nonce of their own under a key that only the fleet
has. Sealed along, though not contained, is the *place*: format, what it is for, the record's name
and the encryption key's id. An entry that was moved to another record, or a refusal put where a
token should be, does not open.

**Encryption keys** stand in a file, one in a line: an id, and 32 bytes in base64. The first line
seals, all of them open. To change keys: add the new one at the end, everywhere; then put it first,
everywhere; and when the longest lifetime of a token has gone by, take the old one away.

Importing this module imports ``cryptography``; only what has a store does.
"""

import hmac
import json
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.errors import TokenFailure, kinds
from proxy.tokens.grants import Login
from proxy.tokens.token import MAX_LIFETIME, TokenKey

FORMAT = b"candescent-proxy store 1"
NONCE = 12
"""Bytes of a nonce, random for each entry: good for 2^32 of them under one key."""

_KEY_LINE = re.compile(r"(?P<id>[A-Za-z0-9._-]{1,32})\s+(?P<key>[A-Za-z0-9+/]{43}=)")
_TEXT = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class RecordName:
    """Where a token key's record stands. ``secret`` makes the digests of its tokens."""

    text: str
    secret: bytes = field(repr=False)

    def digest(self, token: str) -> str:
        """Return by what a token is known without being shown: 32 hexadecimal digits."""
        return _mac(self.secret, b"token", token)[:32]


def record_name(base_url: str, key: TokenKey, login: Login) -> RecordName:
    """Return the name of a key's record; see the top of this page for what goes into it."""
    credentials = login.credentials
    secret = hmac.digest(credentials.client_secret.encode(), FORMAT, sha256)
    parts = (base_url, str(key), credentials.client_id, login.grant.name, login.scopes)
    return RecordName(_mac(secret, b"record", *parts)[:32], secret)


def _mac(secret: bytes, purpose: bytes, *parts: str) -> str:
    # Each part with its length before it: two lists of parts never look alike.
    text = purpose + b"".join(b"\0%d\0%s" % (len(part), part.encode()) for part in parts)
    return hmac.new(secret, text, sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """What is in an entry. ``lifetime`` in seconds; see ``lease_policy`` for the two times.

    ``leased`` is by the store's clock and ``asked`` by the writer's, both Unix seconds.
    """

    text: str = field(repr=False)
    lifetime: float
    leased_at: float
    requested_at: float

    def age(self, store_now: float, wall_now: float) -> float:
        """Return how old it may be, in seconds: the most that either clock says."""
        return max(store_now - self.leased_at, wall_now - self.requested_at, 0.0)


@dataclass(frozen=True, slots=True)
class RefusalEntry:
    """The bank's last answer without a token. ``until`` is Unix seconds by the store's clock.

    ``failures`` is how many there have been in a row.
    """

    reason: TokenFailure
    code: str
    failures: int
    until: float


class DecryptError(Exception):
    """An entry that did not open; ``args[0]`` is a word for why: ``key`` or ``garbage``."""


class EntryCipher:
    """Encrypts and decrypts entries.

    The first of ``keys`` encrypts; ``random`` returns so many random bytes.
    """

    def __init__(self, keys: dict[str, bytes], random: Callable[[int], bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._random = random
        self.key_ids = tuple(keys)
        self.key_id = self.key_ids[0]

    def encrypt_token(self, name: RecordName, token: TokenEntry) -> bytes:
        """Return an entry."""
        return self._encrypt(
            b"token",
            name,
            [token.text, float(token.lifetime), float(token.leased_at), float(token.requested_at)],
        )

    def decrypt_token(self, name: RecordName, key_id: str, entry: bytes) -> TokenEntry:
        """Return what is in an entry. Raises ``DecryptError``."""
        match self._decrypt(b"token", name, key_id, entry):
            case [str(text), float(lifetime), float(leased), float(asked)] if (
                _TEXT.fullmatch(text) and 0 < lifetime <= MAX_LIFETIME
            ):
                return TokenEntry(text, lifetime, leased, asked)
        raise DecryptError("garbage")

    def encrypt_refusal(self, name: RecordName, refusal: RefusalEntry) -> bytes:
        """Return a sealed refusal, with the id of the key before it."""
        document = [refusal.reason.label, refusal.code, refusal.failures, float(refusal.until)]
        return self.key_id.encode() + b" " + self._encrypt(b"refusal", name, document)

    def decrypt_refusal(self, name: RecordName, ciphertext: bytes) -> RefusalEntry:
        """Return what is in a sealed refusal. Raises ``DecryptError``."""
        key_id, _, rest = ciphertext.partition(b" ")
        match self._decrypt(b"refusal", name, key_id.decode("latin-1"), rest):
            case [str(reason), str(code), int(failures), float(until)] if reason in _REASONS:
                return RefusalEntry(_REASONS[reason], code, failures, until)
        raise DecryptError("garbage")

    def _encrypt(self, purpose: bytes, name: RecordName, document: Sequence[object]) -> bytes:
        nonce = self._random(NONCE)
        plain = json.dumps(document).encode()
        return nonce + self._ciphers[self.key_id].encrypt(
            nonce, plain, _associated_data(purpose, name, self.key_id)
        )

    def _decrypt(self, purpose: bytes, name: RecordName, key_id: str, ciphertext: bytes) -> object:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise DecryptError("key")
        if len(ciphertext) < NONCE:
            raise DecryptError("garbage")
        try:
            plain = cipher.decrypt(
                ciphertext[:NONCE], ciphertext[NONCE:], _associated_data(purpose, name, key_id)
            )
        except InvalidTag:
            raise DecryptError("garbage") from None
        return json.loads(plain)


def _associated_data(purpose: bytes, name: RecordName, key_id: str) -> bytes:
    return b"\0".join((FORMAT, purpose, name.text.encode(), key_id.encode()))


def read_keys(lines: Sequence[str]) -> dict[str, bytes]:
    """Return the encryption keys in the lines of a file by their ids, the one that encrypts first.

    Raises ``ValueError`` with what is wrong; never with what stands there.
    """
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _KEY_LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(
                f"line {number} is not an id and 32 bytes in base64; "
                'make one with: echo "k1 $(openssl rand -base64 32)"'
            )
        if match["id"] in keys:
            raise ValueError(f"line {number} has the id of another line")
        keys[match["id"]] = b64decode(match["key"])
    if not keys:
        raise ValueError('it holds no key; make one with: echo "k1 $(openssl rand -base64 32)"')
    return keys


_REASONS = {kind.label: kind for kind in kinds.TOKEN_FAILURES}
