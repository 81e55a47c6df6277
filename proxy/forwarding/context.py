"""One request on its way: what the caller sent, and what we decided about it."""

import asyncio
from dataclasses import dataclass, field

from proxy.forwarding.bodies import Upload
from proxy.forwarding.headers import CallerHeaders
from proxy.forwarding.paths import is_ambiguous, segments
from proxy.forwarding.patterns import Pattern
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.routing import SAFE_METHODS, Route
from proxy.server.messages import Request
from proxy.tokens.token import Token, TokenKey


@dataclass(frozen=True, slots=True)
class Replay:
    """Which requests may be sent again after a refused token, beyond the safe ones.

    Their bodies are kept up to ``max_body`` bytes. By default there are none.
    """

    patterns: tuple[Pattern, ...] = ()
    max_body: int = 0

    def allows(self, method: str, path: bytes, length: int | None) -> bool:
        """Whether a request with a body of this declared length is one of them.

        One whose path another server might read differently is not.
        """
        if length is None or length > self.max_body or is_ambiguous(path):
            return False
        parts = segments(path)
        return any(pattern.matches(method, parts) for pattern in self.patterns)


@dataclass(slots=True)
class RequestContext:
    """Everything that is known of one request. ``deadline`` is in loop seconds.

    ``token`` is the one that it goes with; ``needs_new_connection`` once a reused one has closed;
    ``is_replay_permitted`` when the operator has allowed that it is sent again.
    """

    request: Request
    record: RequestRecord
    headers: CallerHeaders
    route: Route = field(repr=False)  # a query may name people
    key: TokenKey
    transaction_id: bytes
    target: bytes = field(repr=False)
    deadline: float
    upload: Upload | None
    token: Token | None = None
    needs_new_connection: bool = False
    is_replay_permitted: bool = False
    customer_id: bytes | None = None
    upload_task: "asyncio.Task[None] | None" = None

    @property
    def is_safe(self) -> bool:
        """Whether sending it twice can do no harm: a safe method without a body."""
        return self.upload is None and self.request.method in SAFE_METHODS

    @property
    def is_replayable(self) -> bool:
        """Whether it may go again once the bank has refused the token, so did nothing else."""
        return self.is_safe or self.is_replay_permitted

    @property
    def is_uploaded(self) -> bool:
        """Whether the whole request has gone upstream."""
        return self.upload is None or self.upload.is_finished
