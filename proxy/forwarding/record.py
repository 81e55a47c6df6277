"""The record of one request, for the log, the metrics and the status page."""

from collections.abc import Callable
from typing import Protocol

from proxy.errors import ErrorKind, ProxyError, Source
from proxy.http1.fields import RawHeaders
from proxy.server.caller import NO_CALLER, Caller

MAIN_LISTENER = "main"
"""The name of the listener that ``listen`` sets."""


class CallerConnection(Protocol):
    """The connection of a request, for observers."""

    @property
    def caller(self) -> Caller:
        """Who is at its other end."""


class ReceivedRequest(Protocol):
    """A request as received, for observers."""

    @property
    def version(self) -> tuple[int, int]:
        """``(1, 1)`` or ``(1, 0)``."""

    @property
    def headers(self) -> RawHeaders:
        """Its headers."""

    @property
    def connection(self) -> CallerConnection:
        """Its connection."""


class RequestRecord:
    """One forwarded or refused request, filled in step by step. Times are monotonic seconds.

    ``route`` and ``listener`` have few values and serve as labels. ``status`` 0 means that the
    caller left before the response. Defaults are class attributes, so that a new record costs five
    assignments instead of twenty.

    ``started_at``: the request's head was received. ``sent_at``: the head was sent upstream (for
    the last time, after a replay). ``uploaded_at``: the end of a body was sent later than the
    head. ``responded_at``: the response's head was received. ``stream_started_at``: a streamed
    response was ready to be sent; one in a single piece is sent at ``finished_at``. 0 if it did
    not happen. The waits are in seconds: for a token, for a connection, and for preparation (a
    buffered body, a business user's look-up, the body of an error).

    ``application`` is the allowed name in the caller's certificate. ``request`` is for
    observers only: it is dropped afterwards, because the status page keeps records. ``caller`` is
    set where there is no request.
    """

    caller: Caller = NO_CALLER
    application = ""
    transaction_id = ""
    route = "none"
    institution = ""
    status = 0
    source = Source.NONE
    reason = ""
    error_kind: ErrorKind | None = None
    detail = ""
    sent_at = 0.0
    uploaded_at = 0.0
    responded_at = 0.0
    stream_started_at = 0.0
    finished_at = 0.0
    token_wait = 0.0
    connection_wait = 0.0
    preparation_wait = 0.0
    received_bytes = 0
    sent_bytes = 0
    replays = 0
    retry = ""
    has_policy_warning = False
    is_token_refused = False
    is_aborted = False

    def __init__(
        self, method: str, target: bytes, started_at: float, listener: str = MAIN_LISTENER
    ) -> None:
        self.method = method
        self.target = target
        self.started_at = started_at
        self.listener = listener
        # Not a class attribute: mypyc ignores a None there for what may be any object.
        self.request: ReceivedRequest | None = None

    def note(self, error: ProxyError) -> None:
        """Record the error of the response.

        ``reason`` is its name, a label; ``error_kind`` the kind with the exact cause and remedy.
        """
        self.source, self.reason = error.kind.source, error.kind.name
        self.error_kind, self.detail = error.explained_by, error.operator_detail

    def durations(self) -> tuple[float, float] | None:
        """Return the seconds spent in the proxy and those spent at the bank.

        The proxy's are those before the request's head was sent and after the response's head was
        received, without the waits; the bank's those from the end of the request to that head.
        None for a request that was sent twice or got no response.
        """
        if self.replays or not self.responded_at:
            return None
        before = self.sent_at - self.started_at
        after = (self.stream_started_at or self.finished_at) - self.responded_at
        waits = self.token_wait + self.connection_wait + self.preparation_wait
        return before + after - waits, self.responded_at - (self.uploaded_at or self.sent_at)

    @property
    def path(self) -> str:
        """The requested path without its query, which may name people.

        Empty for a target in another form, which might contain a user and a password.
        """
        path = self.target.partition(b"?")[0]
        return path.decode("latin-1") if path.startswith(b"/") else ""


RequestObserver = Callable[[RequestRecord], None]
