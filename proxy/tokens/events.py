"""What happened to tokens, as plain values."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.errors import TokenError
from proxy.tokens.token import Token, TokenKey


class Trigger(StrEnum):
    """Why the bank was asked for a token; a failed request keeps its trigger when tried again."""

    FIRST = "first"
    DUE = "due"
    EXPIRED = "expired"
    REJECTED = "rejected"
    RELOAD = "reload"
    SHARED = "shared"
    """The bank was not asked: another proxy of the fleet had asked it."""


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """The bank gave a token. ``seconds`` is what the call took; due again at ``refresh_age``."""

    token: Token
    seconds: float
    refresh_age: float
    trigger: Trigger = Trigger.FIRST


@dataclass(frozen=True, slots=True)
class TokenRefreshFailed:
    """The bank gave no token, ``failures`` times in a row; tried again in ``delay`` seconds."""

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
class TokenReleased:
    """A token that nobody had used for a while was let go instead of renewed."""

    key: TokenKey


TokenFact = TokenRefreshed | TokenRefreshFailed | TokenRejected | TokenReleased
