"""The state of one request, and the rule for replays."""

import asyncio
from dataclasses import dataclass, field

from proxy.forwarding.bodies import Upload
from proxy.forwarding.headers import CallerHeaders
from proxy.forwarding.paths import is_ambiguous, segments
from proxy.forwarding.patterns import Pattern
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.routing import SAFE_METHODS, Route
from proxy.forwarding.upstream import Upstream
from proxy.server.messages import Request
from proxy.tokens.token import Token, TokenKey


@dataclass(frozen=True, slots=True)
class Replay:
    """Unsafe requests that may be sent again after a refused token; by default none.

    Their bodies are buffered up to ``max_body`` bytes.
    """

    patterns: tuple[Pattern, ...] = ()
    max_body: int = 0

    def allows(self, method: str, path: bytes, length: int | None) -> bool:
        """Whether a request with a body of this declared length may be sent again.

        Never with an ambiguous path (``paths.is_ambiguous``).
        """
        if length is None or length > self.max_body or is_ambiguous(path):
            return False
        parts = segments(path)
        return any(pattern.matches(method, parts) for pattern in self.patterns)


@dataclass(slots=True)
class RequestContext:
    """The state of one request. ``deadline`` is in loop seconds, ``key`` is of ``upstream``.

    ``token`` is the one it is sent with; ``needs_new_connection`` is set after a reused one has
    closed; ``is_replay_permitted`` when the configuration allows that it is sent again.
    ``is_token_refused`` is set once the bank has refused its token, ``may_replay_again`` while it
    may be sent once more after that; ``is_retry`` once it is retried because nothing of it had
    been sent.
    """

    request: Request
    record: RequestRecord
    headers: CallerHeaders
    upstream: Upstream
    route: Route = field(repr=False)  # a query may name people
    key: TokenKey
    transaction_id: bytes
    target: bytes = field(repr=False)
    deadline: float
    upload: Upload | None
    token: Token | None = None
    needs_new_connection: bool = False
    is_token_refused: bool = False
    may_replay_again: bool = False
    is_retry: bool = False
    is_replay_permitted: bool = False
    customer_id: bytes | None = None
    upload_task: "asyncio.Task[None] | None" = None

    @property
    def is_safe(self) -> bool:
        """Whether it may always be sent twice: a safe method (RFC 9110, 9.2.1) without a body."""
        return self.upload is None and self.request.method in SAFE_METHODS

    @property
    def is_replayable(self) -> bool:
        """Whether it may be retried after a refused token: the bank did not process it."""
        return self.is_safe or self.is_replay_permitted

    @property
    def is_uploaded(self) -> bool:
        """Whether the whole request has been sent upstream."""
        return self.upload is None or self.upload.is_finished
