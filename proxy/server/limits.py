"""What callers may take up, and what they read when it is more."""

from dataclasses import dataclass

from proxy.errors import CallerError, kinds


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """What one caller, and all of them together, may take up. Times in seconds, sizes in bytes.

    ``header_timeout`` runs from the first byte of a head to its last, ``keepalive_timeout``
    between requests, ``idle_timeout`` while a body neither comes nor is taken,
    ``half_close_timeout`` from a caller's end of sending to the first byte of its answer.
    ``max_line`` bounds the request line and each header, ``max_head`` all of them together;
    ``max_body`` 0 means no bound. ``max_in_flight`` bounds the requests being served.
    """

    header_timeout: float = 10.0
    keepalive_timeout: float = 75.0
    idle_timeout: float = 60.0
    half_close_timeout: float = 5.0
    max_line: int = 8190
    max_headers: int = 100
    max_head: int = 65_536
    max_body: int = 0
    max_connections: int = 2000
    max_in_flight: int = 2000

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
        """Raise ``CallerError`` (413) for a body of more bytes than are allowed."""
        if self.max_body and size > self.max_body:
            raise CallerError(kinds.BODY_TOO_LARGE)
