"""Names and encryption of what is in the store, so that the store can read no secret.

**Names.** The name of a token key's record is an HMAC, keyed with the application's secret, of all
that determines the token: the bank's address, generation, institution, subject (grant, client id
and user) and scopes.
So proxies share a record exactly if the bank would give them the same token, and without the secret
a record cannot be attributed. A token's digest is an HMAC under the same key.

**Entries** are encrypted with AES-256-GCM, each with its own random nonce, under a key of the
fleet. The associated data are format, purpose, the record's name and the encryption key's id. An
entry that was moved to another record, or a refusal in the place of a token, cannot be decrypted.

**Encryption keys** are in a file, one per line: an id, and 32 bytes in base64. The first one
encrypts, all of them decrypt. To rotate: add the new key at the end on all proxies; then move it to
the first line on all; remove the old one after the longest lifetime of a token.

Importing this module imports ``cryptography``, so it is imported only if a store is configured.
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
"""Bytes of a nonce. Random nonces allow 2^32 entries per key (NIST SP 800-38D, section 8.3)."""

_KEY_LINE = re.compile(r"(?P<id>[A-Za-z0-9._-]{1,32})\s+(?P<key>[A-Za-z0-9+/]{43}=)")
_TEXT = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class RecordName:
    """The name of a token key's record. ``secret`` keys the digests of its tokens."""

    text: str
    secret: bytes = field(repr=False)

    def digest(self, token: str) -> str:
        """Return the digest of a token: 32 hexadecimal digits."""
        return _mac(self.secret, b"token", token)[:32]


def record_name(base_url: str, key: TokenKey, login: Login) -> RecordName:
    """Return the name of a key's record; the module's docstring says what it is made of."""
    credentials = login.credentials
    secret = hmac.digest(credentials.client_secret.encode(), FORMAT, sha256)
    subject = (credentials.client_id, login.grant.name, login.grant.user)
    parts = (base_url, key.kind.value, key.institution, *subject, login.scopes)
    return RecordName(_mac(secret, b"record", *parts)[:32], secret)


def _mac(secret: bytes, purpose: bytes, *parts: str) -> str:
    # Each part is preceded by its length, so that different lists never give the same text.
    text = purpose + b"".join(b"\0%d\0%s" % (len(part), part.encode()) for part in parts)
    return hmac.new(secret, text, sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token in the store. ``lifetime`` is in seconds.

    ``leased_at`` is the time of the writer's lease: Unix seconds by the store's clock.
    """

    text: str = field(repr=False)
    lifetime: float
    leased_at: float


@dataclass(frozen=True, slots=True)
class RefusalEntry:
    """The bank's last failure. ``until`` is Unix seconds by the store's clock.

    ``failures`` is the number of failures in a row that apply to the fleet; 0 for the first one of
    a single proxy, ``met_by``.
    """

    reason: TokenFailure
    code: str
    failures: int
    until: float
    met_by: str = ""


class DecryptError(Exception):
    """An entry cannot be decrypted; ``args[0]`` is the reason: ``key`` or ``garbage``."""


class EntryCipher:
    """Encrypts and decrypts entries.

    The first of ``keys`` encrypts; ``random(n)`` returns n random bytes.
    """

    def __init__(self, keys: dict[str, bytes], random: Callable[[int], bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._random = random
        self.key_ids = tuple(keys)
        self.key_id = self.key_ids[0]

    def encrypt_token(self, name: RecordName, token: TokenEntry) -> bytes:
        """Return a token as an encrypted entry."""
        return self._encrypt(
            b"token",
            name,
            [token.text, float(token.lifetime), float(token.leased_at)],
        )

    def decrypt_token(self, name: RecordName, key_id: str, entry: bytes) -> TokenEntry:
        """Return the token of an entry. Raises ``DecryptError``."""
        match self._decrypt(b"token", name, key_id, entry):
            case [str(text), float(lifetime), float(leased_at)] if (
                _TEXT.fullmatch(text) and 0 < lifetime <= MAX_LIFETIME
            ):
                return TokenEntry(text, lifetime, leased_at)
        raise DecryptError("garbage")

    def encrypt_refusal(self, name: RecordName, refusal: RefusalEntry) -> bytes:
        """Return an encrypted refusal, preceded by the id of its key."""
        document = [
            *(refusal.reason.label, refusal.code, refusal.failures),
            *(float(refusal.until), refusal.met_by),
        ]
        return self.key_id.encode() + b" " + self._encrypt(b"refusal", name, document)

    def decrypt_refusal(self, name: RecordName, ciphertext: bytes) -> RefusalEntry:
        """Return the refusal of an entry. Raises ``DecryptError``."""
        key_id, _, rest = ciphertext.partition(b" ")
        match self._decrypt(b"refusal", name, key_id.decode("latin-1"), rest):
            case [str(reason), str(code), int(failures), float(until), str(by)] if (
                reason in _REASONS
            ):
                return RefusalEntry(_REASONS[reason], code, failures, until, by)
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

    Raises ``ValueError`` with the number of the wrong line, never with its content.
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
        raise ValueError('contains no key; make one with: echo "k1 $(openssl rand -base64 32)"')
    return keys


_REASONS = {kind.label: kind for kind in kinds.TOKEN_FAILURES}
