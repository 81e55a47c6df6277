"""Limits for callers, and the errors for what exceeds them."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from proxy.errors import CallerError, kinds
from proxy.settings import SIZE, Bytes, Count, Seconds, setting


@dataclass(frozen=True)
class CallerLimits:
    """Limits on callers, separate for each listener."""

    header_timeout: Seconds = setting(
        10.0, "Time from the first to the last byte of a request's headers; then 408."
    )
    keepalive_timeout: Seconds = setting(
        75.0, "Time after which a connection without a request is closed."
    )
    idle_timeout: Seconds = setting(
        60.0, "Longest pause of a caller within a request or response body."
    )
    half_close_timeout: Seconds = setting(
        5.0,
        "Time from a caller's TCP half-close to the start of its response.",
    )
    max_line: Bytes = setting(8190, "Largest request line or header.")
    max_headers: Count = setting(100, "Limit of headers in a request.")
    max_head: Bytes = setting(65_536, "Limit of all headers of a request together.")
    max_body: Annotated[int, Interval(ge=0), SIZE] = setting(
        0, "Largest request body; larger ones get 413. 0 for no limit."
    )
    max_connections: Count = setting(2000, "Limit of open connections of callers.")
    max_handshakes: Count = setting(
        256,
        "Limit of concurrent TLS handshakes; further callers wait, and handshakes of more than a "
        "quarter of a second are then closed.",
    )
    max_memory: Annotated[int, Interval(ge=1_048_576), SIZE] = setting(
        33_554_432,
        "Limit of memory for unfinished heads, unread requests and unsent bodies, of all listeners "
        "together; over it the largest get 503.",
    )
    max_in_flight: Count = setting(2000, "Limit of concurrent requests; more get 503.")

    def check_head(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Raise ``CallerError`` (414, 431) for a head that exceeds a limit."""
        if len(target) > self.max_line:
            raise CallerError(kinds.TARGET_TOO_LONG)
        sizes = [len(name) + len(value) + 4 for name, value in headers]
        if len(sizes) > self.max_headers or max(sizes, default=0) > self.max_line:
            raise CallerError(kinds.TOO_LARGE)
        if sum(sizes) + len(target) > self.max_head:
            raise CallerError(kinds.TOO_LARGE)

    def check_body(self, size: int) -> None:
        """Raise ``CallerError`` (413) for a body of more than ``max_body`` bytes."""
        if self.max_body and size > self.max_body:
            raise CallerError(kinds.BODY_TOO_LARGE)
