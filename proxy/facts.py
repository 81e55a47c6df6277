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


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Configuration and secrets were read anew and taken; ``why`` says who asked."""

    why: str


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A changed configuration or secret was not taken; the old one stays in force.

    ``error`` is a mistake of our own that was the cause.
    """

    why: str
    detail: str
    error: Exception | None = None


Fact = TokenRefreshed | TokenRefreshFailed | TokenRejected | TokenReleased | Reloaded | ReloadFailed
Emit = Callable[[Fact], None]


class RequestRecord:
    """One forwarded or refused request, filled in on its way. Times are loop seconds.

    ``route`` is a bounded word, ``status`` 0 means that the caller went away before there was
    one. What stands here as a class attribute is what a record says until it is told otherwise;
    so the making of one costs three assignments, not twenty.
    """

    transaction_id = ""
    route = "none"
    institution = ""
    status = 0
    source = Source.NONE
    reason = ""
    sent_at = 0.0
    answered_at = 0.0
    finished_at = 0.0
    received_bytes = 0
    sent_bytes = 0
    replays = 0
    warned = False
    refused = False
    cut = False

    def __init__(self, method: str, target: bytes, started: float) -> None:
        self.method = method
        self.target = target
        self.started = started

    @property
    def path(self) -> str:
        """The path that was asked for, without its query, which may name people.

        Empty for a target that is no path; it might name a user and a password.
        """
        path = self.target.partition(b"?")[0]
        return path.decode("latin-1") if path.startswith(b"/") else ""


Finish = Callable[[RequestRecord], None]
