"""PURE: what happened, as plain values. ``metrics`` counts them, ``logs`` writes them down."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.errors import Source, TokenError
from proxy.tokens.token import Token, TokenKey


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """The bank gave a token. ``seconds`` is what the call took; due again at ``refresh_age``."""

    token: Token
    seconds: float
    refresh_age: float


@dataclass(frozen=True, slots=True)
class TokenRefreshFailed:
    """The bank gave no token, ``failures`` times in a row; tried again in ``delay`` seconds."""

    key: TokenKey
    error: TokenError
    seconds: float
    failures: int
    delay: float


@dataclass(frozen=True, slots=True)
class TokenRejected:
    """The bank refused a token on a resource call. ``dropped`` when it was the current one."""

    token: Token
    dropped: bool


@dataclass(frozen=True, slots=True)
class TokenReleased:
    """A token that nobody had used for a while was let go instead of renewed."""

    key: TokenKey


Fact = TokenRefreshed | TokenRefreshFailed | TokenRejected | TokenReleased
Emit = Callable[[Fact], None]


@dataclass(slots=True)
class RequestRecord:
    """One forwarded or refused request, filled in on its way. Times are loop seconds.

    ``route`` is a bounded word, ``path`` has no query; ``status`` 0 means that the caller went
    away before there was one.
    """

    method: str
    path: str
    started: float
    transaction_id: str = ""
    route: str = "none"
    institution: str = ""
    status: int = 0
    source: Source = Source.NONE
    reason: str = ""
    sent_at: float = 0.0
    answered_at: float = 0.0
    finished_at: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0
    replays: int = 0
    warned: bool = False
    cut: bool = False


Finish = Callable[[RequestRecord], None]
