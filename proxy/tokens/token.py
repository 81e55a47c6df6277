"""PURE: a token, what it is at a given moment, and when to renew it.

No clock stands here: a ``Instant`` comes in as an argument, and so does the random number.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

MAX_LIFETIME = 2_592_000.0
"""Seconds; the longest lifetime the bank documents (30 days). A longer one is cut to this."""

ASSUMED_LIFETIME = 300.0
"""Seconds; used when the bank names no lifetime, or one that is no number."""


class TokenKind(StrEnum):
    """The generation of a token: ``V2`` (JSON) or ``V1`` (XML, legacy)."""

    V1 = "v1"
    V2 = "v2"


class TokenKey(NamedTuple):
    """What a token is for. Two requests with equal keys may share a token."""

    kind: TokenKind
    institution: str

    def __str__(self) -> str:
        """Return it as one word, such as ``v2:00016``."""
        return f"{self.kind.value}:{self.institution}"

    @classmethod
    def parse(cls, text: str) -> "TokenKey":
        """Read what ``str`` wrote. Raises ``ValueError``."""
        kind, _, institution = text.partition(":")
        return cls(TokenKind(kind), institution)


class Instant(NamedTuple):
    """A point in time on two clocks, both in seconds.

    The monotonic one cannot be set; the wall one goes on while a laptop sleeps. Whichever says
    that more time has passed is believed, so a token can be renewed early but not sent dead.
    """

    monotonic: float
    wall: float

    def since(self, earlier: "Instant") -> float:
        """Return the seconds that have passed since ``earlier``, never less than zero."""
        return max(self.monotonic - earlier.monotonic, self.wall - earlier.wall, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """An access token of the bank. Compared by identity; its repr does not show it.

    ``issued`` is when we began to ask for it, so ``lifetime`` (seconds) is never overestimated.
    ``is_from_store`` is true when another proxy of the fleet had asked the bank for it.
    """

    key: TokenKey
    text: str = field(repr=False)
    issued: Instant
    lifetime: float
    is_from_store: bool = False
    authorization: bytes = field(init=False, repr=False)
    institution: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the header's value once, not once a request."""
        object.__setattr__(self, "authorization", b"Bearer " + self.text.encode("ascii"))
        object.__setattr__(self, "institution", self.key.institution.encode("ascii"))

    def is_alive(self, now: Instant) -> bool:
        """Whether the token may still be sent."""
        # What ``since`` says, on the hot path without the call.
        issued, lifetime = self.issued, self.lifetime
        return now[0] - issued[0] < lifetime and now[1] - issued[1] < lifetime

    def remaining(self, now: Instant) -> float:
        """Return the seconds until the token dies; zero or less once it has."""
        return self.lifetime - now.since(self.issued)

    @property
    def expires_at(self) -> float:
        """When the token dies, in Unix seconds."""
        return self.issued.wall + self.lifetime


class TokenSource(Protocol):
    """Anything that can give a token: the bank, the cache around it, a store between them."""

    async def token(self, key: TokenKey) -> Token:
        """Return a live token for ``key``, or raise ``TokenError``."""
