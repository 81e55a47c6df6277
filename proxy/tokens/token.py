"""Tokens, their keys and lifetimes. Times are arguments (``Instant``); no clock is read here."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

MAX_LIFETIME = 2_592_000.0
"""Seconds; the longest lifetime the bank documents (30 days). Longer ones are reduced to it."""

ASSUMED_LIFETIME = 300.0
"""Seconds; used if the bank sends no lifetime, or one that is not a number."""


class TokenKind(StrEnum):
    """The generation of a token: ``V2`` (JSON) or ``V1`` (XML, legacy)."""

    V1 = "v1"
    V2 = "v2"


class TokenKey(NamedTuple):
    """Identifies a token. Two requests with equal keys may share it.

    ``origin`` is the bank's address that issued it and that alone gets it: a base URL, or empty for
    the configuration's own. ``subject`` is the listener with a login of its own that it belongs to;
    empty for the institution's login.
    """

    kind: TokenKind
    institution: str
    origin: str = ""
    subject: str = ""

    def __str__(self) -> str:
        """Return the key as one word, such as ``v2:00016`` or ``v2:00016:kiosk``."""
        return f"{self.kind.value}:{self.institution}" + (self.subject and f":{self.subject}")

    @property
    def text(self) -> str:
        """The key with its origin, as ``parse`` reads it."""
        return f"{self} {self.origin}" if self.origin else str(self)

    @classmethod
    def parse(cls, text: str) -> "TokenKey":
        """Parse a key's ``text``. Raises ``ValueError``."""
        name, _, origin = text.partition(" ")
        kind, _, rest = name.partition(":")
        institution, _, subject = rest.partition(":")
        return cls(TokenKind(kind), institution, origin, subject)


class Instant(NamedTuple):
    """A point in time on two clocks, both in seconds.

    The monotonic clock cannot be set; the wall clock goes on while a machine is suspended. The one
    by which more time has passed counts, so a token may be renewed early but is never sent expired.
    """

    monotonic: float
    wall: float

    def since(self, earlier: "Instant") -> float:
        """Return the seconds that have passed since ``earlier``, never less than zero."""
        return max(self.monotonic - earlier.monotonic, self.wall - earlier.wall, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """An access token of the bank. Compared by identity; its repr does not show it.

    ``issued`` is when the token call began, so ``lifetime`` (seconds) is never overestimated.
    ``is_from_store``: another proxy of the fleet fetched it.
    """

    key: TokenKey
    text: str = field(repr=False)
    issued: Instant
    lifetime: float
    is_from_store: bool = False
    authorization: bytes = field(init=False, repr=False)
    institution: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Build the header value once instead of per request."""
        object.__setattr__(self, "authorization", b"Bearer " + self.text.encode("ascii"))
        object.__setattr__(self, "institution", self.key.institution.encode("ascii"))

    def is_alive(self, now: Instant) -> bool:
        """Whether the token may still be sent."""
        # The same as ``since``, without the call, because it is on the hot path.
        issued, lifetime = self.issued, self.lifetime
        return now[0] - issued[0] < lifetime and now[1] - issued[1] < lifetime

    def remaining(self, now: Instant) -> float:
        """Return the seconds until the token expires; zero or less afterwards."""
        return self.lifetime - now.since(self.issued)

    @property
    def expires_at(self) -> float:
        """The time of expiry in Unix seconds."""
        return self.issued.wall + self.lifetime


class TokenSource(Protocol):
    """A source of tokens: the bank, the store or the cache, each wrapping the previous one."""

    async def token(self, key: TokenKey) -> Token:
        """Return a live token for ``key``, or raise ``TokenError``."""
