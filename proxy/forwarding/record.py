"""What is recorded of one request, for the log, the metrics and the status page."""

from collections.abc import Callable

from proxy.errors import ErrorKind, ProxyError, Source

MAIN_LISTENER = "main"
"""The name of the listener that ``listen`` sets."""


class RequestRecord:
    """One forwarded or refused request, filled in on its way. Times are monotonic seconds.

    ``route`` and ``listener`` are bounded words. ``status`` 0 means that the caller went away
    before there was one. What stands here as a class attribute is what a record says until it is
    told otherwise; so the making of one costs four assignments, not twenty.

    ``started_at`` is when its head had been read, ``sent_at`` when its head went to the bank (the
    last time, if it went twice), ``uploaded_at`` when the end of a body did that came later than
    the head, ``responded_at`` when the head of the bank's answer was here, and
    ``stream_started_at`` when an answer that is streamed could begin to go out; one in a single
    piece is relayed when it is finished. 0 where there was no such moment. The waits are in
    seconds: for a token, for a connection, and for what else there is to wait for on the way (a
    body to be kept, a business user to be looked up, the body of an error to be read).
    """

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

    def note(self, error: ProxyError) -> None:
        """Record the error that the caller was told.

        ``reason`` is its name, a label; ``error_kind`` the kind with the exact cause and remedy.
        """
        self.source, self.reason = error.kind.source, error.kind.name
        self.error_kind, self.detail = error.explained_by, error.detail

    def durations(self) -> tuple[float, float] | None:
        """Return the proxy's own seconds and the bank's; None where they cannot be told apart.

        Ours are those before the bank had the head of the request and after we had that of its
        answer, less the waits; the bank's those from the end of the request to that head. They
        can be told of a request that went to the bank once and was answered.
        """
        if self.replays or not self.responded_at:
            return None
        before = self.sent_at - self.started_at
        after = (self.stream_started_at or self.finished_at) - self.responded_at
        waits = self.token_wait + self.connection_wait + self.preparation_wait
        return before + after - waits, self.responded_at - (self.uploaded_at or self.sent_at)

    @property
    def path(self) -> str:
        """The path that was asked for, without its query, which may name people.

        Empty for a target that is no path; it might name a user and a password.
        """
        path = self.target.partition(b"?")[0]
        return path.decode("latin-1") if path.startswith(b"/") else ""


RequestObserver = Callable[[RequestRecord], None]
