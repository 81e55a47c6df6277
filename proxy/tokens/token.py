"""PURE: a token, what it is at a given moment, and when to renew it.

No clock stands here: a ``Instant`` comes in as an argument, and so does the random number.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from proxy.errors import TokenFailure, kinds

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


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """When tokens are renewed and how failures are waited out. All times in seconds.

    ``refresh_rate`` is in calls a second; see ``rate_limit``.
    """

    margin_min: float = 60.0
    margin_max: float = 300.0
    margin_fraction: float = 0.2
    jitter_fraction: float = 0.1
    jitter_max: float = 60.0
    min_interval: float = 10.0
    backoff_initial: float = 1.0
    backoff_max: float = 60.0
    throttle_initial: float = 10.0
    throttle_max: float = 300.0
    refusal_memory: float = 60.0
    retry_after_max: float = 3600.0
    start_spread: float = 0.0
    refresh_rate: float = 20.0
    max_refreshes: int = 64

    def start_delay(self, chance: float) -> float:
        """Return how many seconds the first fetch of a start waits when no request needs it."""
        return chance * self.start_spread

    def refresh_age(self, lifetime: float, chance: float) -> float:
        """Return the age, in seconds, at which a token of ``lifetime`` is renewed.

        ``chance`` in [0, 1) moves it earlier by up to a tenth of the lifetime, so that a fleet
        started together does not renew together. Never before half the lifetime, never after
        the end of it, and for a lifetime too short for the margin the spread lies just behind
        its half.
        """
        margin = max(self.margin_min, min(self.margin_max, self.margin_fraction * lifetime))
        # The quarter keeps a large jitter_fraction from reaching the end of a short lifetime.
        spread = min(self.jitter_fraction * lifetime, self.jitter_max, lifetime / 4)
        latest = max(lifetime - margin, lifetime / 2 + spread)
        return max(latest - chance * spread, lifetime / 2)

    def retry_delay(
        self,
        reason: TokenFailure,
        failures: int,
        chance: float,
        retry_after: float | None = None,
        *,
        first: bool = False,
    ) -> float:
        """Return how long to wait, in seconds, after the ``failures``-th failure in a row.

        Refusals are remembered, throttling is waited out (CMN_90002, CMN_90003), all else is
        tried again after an exponential back-off with full jitter. ``retry_after`` is the
        bank's own word and a lower bound.

        ``first`` says that there has been no token yet. Throttled then, we are likely one of
        many that start together, so the next try is anywhere in twice the time.
        """
        required = min(retry_after or 0.0, self.retry_after_max)
        if reason.is_refusal:
            return max(required, self.refusal_memory)
        doublings = min(failures - 1, 32)
        if reason is kinds.TOKEN_THROTTLED:
            step = min(self.throttle_initial * 2.0**doublings, self.throttle_max)
            if first:
                spread = min(2 * step, self.throttle_max)
                return max(required, self.throttle_initial / 4) + chance * spread
            return max(required, step / 2) + chance * step / 2
        step = min(self.backoff_initial * 2.0**doublings, self.backoff_max)
        return max(required + chance * step, self.backoff_initial / 10)

    def may_reject(self, token: Token, now: Instant) -> bool:
        """Whether a token that the bank refused may be thrown away.

        One minted moments ago is kept: if the bank refuses even that, another will not help,
        and throwing it away would turn every refusal into a token request.
        """
        return now.since(token.issued) >= min(self.min_interval, token.lifetime / 2)
