"""Limits for callers, and the errors for what exceeds them."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from proxy.errors import CallerError, kinds
from proxy.settings import SIZE, Bytes, Count, Seconds, setting


@dataclass(frozen=True)
class CallerLimits:
    """Limits on what callers send and hold. They apply to each listener separately."""

    header_timeout: Seconds = setting(
        10.0, "Time allowed from the first to the last byte of a request's headers; then 408."
    )
    keepalive_timeout: Seconds = setting(
        75.0, "A caller's connection is closed after this time without a request."
    )
    idle_timeout: Seconds = setting(
        60.0, "Longest pause of a caller that sends a request body or reads a response."
    )
    half_close_timeout: Seconds = setting(
        5.0,
        "Time allowed from the moment a caller stops sending (TCP half-close) to the start of its "
        "response.",
    )
    max_line: Bytes = setting(8190, "Largest request line, and largest header.")
    max_headers: Count = setting(100, "Largest number of headers in a request.")
    max_head: Bytes = setting(65_536, "Largest size of a request's headers together.")
    max_body: Annotated[int, Interval(ge=0), SIZE] = setting(
        0, "Largest body of a request; larger ones are refused with 413. 0 for no limit."
    )
    max_connections: Count = setting(
        2000, "Largest number of callers' connections that are open at the same time."
    )
    max_in_flight: Count = setting(
        2000, "Requests served at the same time; more are refused with 503."
    )

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
