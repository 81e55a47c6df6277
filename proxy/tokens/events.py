"""Events of tokens, as plain values."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.errors import TokenError
from proxy.tokens.token import Token, TokenKey


class Trigger(StrEnum):
    """Why a token was fetched; a failed call keeps its trigger when it is retried."""

    FIRST = "first"
    DUE = "due"
    EXPIRED = "expired"
    REJECTED = "rejected"
    RELOAD = "reload"
    SHARED = "shared"
    """Not fetched by this proxy, but by another of the fleet."""


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """The bank issued a token. The call took ``seconds``; it is due again at ``refresh_age``."""

    token: Token
    seconds: float
    refresh_age: float
    trigger: Trigger = Trigger.FIRST


def slow_token(seconds: float, lifetime: float) -> str:
    """Return in a sentence how long a token call took, and how long its token lives."""
    return f"a token call takes {seconds:.1f} s, and its token lives for {lifetime:g} s."


@dataclass(frozen=True, slots=True)
class TokenRefreshFailed:
    """A token call failed, for the ``failures``-th time in a row; retry in ``delay`` seconds."""

    key: TokenKey
    error: TokenError
    seconds: float
    failures: int
    delay: float
    trigger: Trigger = Trigger.FIRST


@dataclass(frozen=True, slots=True)
class TokenRejected:
    """The bank refused a token on a resource call. ``was_current`` when it was the current one."""

    token: Token
    was_current: bool


@dataclass(frozen=True, slots=True)
class TokenUnchanged:
    """The endpoint handed out the live token again, which lasts ``left`` more seconds."""

    token: Token
    seconds: float
    left: float


@dataclass(frozen=True, slots=True)
class TokenConflict:
    """New tokens are refused soon again and again: something else fetches tokens too."""

    key: TokenKey


@dataclass(frozen=True, slots=True)
class TokenCallSlow:
    """A token call took ``seconds``, half of its token's ``lifetime`` or more.

    So tokens expire before they can be renewed.
    """

    key: TokenKey
    seconds: float
    lifetime: float


@dataclass(frozen=True, slots=True)
class TokenReleased:
    """An unused token was dropped instead of renewed."""

    key: TokenKey


TokenEvent = (
    TokenRefreshed
    | TokenRefreshFailed
    | TokenRejected
    | TokenUnchanged
    | TokenConflict
    | TokenCallSlow
    | TokenReleased
)
