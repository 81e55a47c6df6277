"""PURE: what happened, as plain values. ``metrics`` counts them, ``logs`` writes them down."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from proxy.errors import Source, TokenError
from proxy.tokens.store_facts import StoreFact
from proxy.tokens.token import Token, TokenKey


class Trigger(StrEnum):
    """Why the bank was asked for a token; a failed request keeps its trigger when tried again."""

    FIRST = "first"
    DUE = "due"
    EXPIRED = "expired"
    REJECTED = "rejected"
    RELOAD = "reload"
    TAKEN = "taken"
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
    """The bank refused a token on a resource call. ``dropped`` when it was the current one."""

    token: Token
    dropped: bool


@dataclass(frozen=True, slots=True)
class TokenReleased:
    """A token that nobody had used for a while was let go instead of renewed."""

    key: TokenKey


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Configuration and secrets were read anew and taken; ``why`` says who asked.

    ``rotated`` when a login to the bank was another than before.
    """

    why: str
    rotated: bool = False


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A changed configuration or secret was not taken; the old one stays in force.

    ``error`` is a mistake of our own that was the cause; ``refused`` when the bank gave no token
    with it, ``rotated`` when a login to the bank is another in it.
    """

    why: str
    detail: str
    error: Exception | None = None
    refused: bool = False
    rotated: bool = False


Fact = (
    TokenRefreshed
    | TokenRefreshFailed
    | TokenRejected
    | TokenReleased
    | Reloaded
    | ReloadFailed
    | StoreFact
)
Emit = Callable[[Fact], None]


MAIN = "main"
"""The name of the listener that ``listen`` sets."""


class RequestRecord:
    """One forwarded or refused request, filled in on its way. Times are monotonic seconds.

    ``route`` and ``listener`` are bounded words. ``status`` 0 means that the caller went away
    before there was one. What stands here as a class attribute is what a record says until it is
    told otherwise; so the making of one costs four assignments, not twenty.

    ``started`` is when its head had been read, ``sent_at`` when its head went to the bank (the
    last time, if it went twice), ``uploaded_at`` when the end of a body did that came later than
    the head, ``answered_at`` when the head of the bank's answer was here, and ``relayed_at`` when
    an answer that is streamed could begin to go out; one in a single piece is relayed when it is
    finished. 0 where there was no such moment. The waits are in seconds: for a token, for a
    connection, and for what else there is to wait for on the way (a body to be kept, a business
    user to be looked up, the body of an error to be read).
    """

    transaction_id = ""
    route = "none"
    institution = ""
    status = 0
    source = Source.NONE
    reason = ""
    detail = ""
    sent_at = 0.0
    uploaded_at = 0.0
    answered_at = 0.0
    relayed_at = 0.0
    finished_at = 0.0
    token_wait = 0.0
    connection_wait = 0.0
    other_wait = 0.0
    received_bytes = 0
    sent_bytes = 0
    replays = 0
    warned = False
    refused = False
    cut = False

    def __init__(self, method: str, target: bytes, started: float, listener: str = MAIN) -> None:
        self.method = method
        self.target = target
        self.started = started
        self.listener = listener

    def shares(self) -> tuple[float, float] | None:
        """Return the proxy's own seconds and the bank's; None where they cannot be told apart.

        Ours are those before the bank had the head of the request and after we had that of its
        answer, less the waits; the bank's those from the end of the request to that head. They
        can be told of a request that went to the bank once and was answered.
        """
        if self.replays or not self.answered_at:
            return None
        before = self.sent_at - self.started
        after = (self.relayed_at or self.finished_at) - self.answered_at
        waits = self.token_wait + self.connection_wait + self.other_wait
        return before + after - waits, self.answered_at - (self.uploaded_at or self.sent_at)

    @property
    def path(self) -> str:
        """The path that was asked for, without its query, which may name people.

        Empty for a target that is no path; it might name a user and a password.
        """
        path = self.target.partition(b"?")[0]
        return path.decode("latin-1") if path.startswith(b"/") else ""


Finish = Callable[[RequestRecord], None]
