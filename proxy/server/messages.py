"""A caller's request, its body as it comes, and what is answered."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol, final

HIGH_WATER = 131_072
"""Bytes of a body held for a slow upstream before the caller is made to wait."""


class RequestConnection(Protocol):
    """The connection that a request came on, as the request's way sees it."""

    is_tls: bool

    async def deliver(self, data: bytes) -> None:
        """Send ``data``, with back-pressure. Raises ``ConnectionError``."""

    def reset(self) -> None:
        """End the connection so that it cannot be taken for the clean end of an answer."""

    def peer_certificate(self) -> Mapping[str, Any] | None:
        """Return the certificate that the caller showed, if any."""

    def local_address(self) -> tuple[str, int] | None:
        """Return the address and port that the caller has reached; None on a Unix socket."""

    def pause_reading(self) -> None:
        """Make the caller wait."""

    def resume_reading(self) -> None:
        """Let the caller go on."""


class Body:
    """The body of a request, in blocks. ``complete`` once its last byte is here."""

    __slots__ = ("_blocks", "_buffered_bytes", "_connection", "_error", "_wake", "complete")

    def __init__(self, connection: RequestConnection | None, *, complete: bool = False) -> None:
        self._connection = connection
        self._blocks: list[bytes] = []
        self._buffered_bytes = 0
        self._error: Exception | None = None
        self._wake: asyncio.Future[None] | None = None
        self.complete = complete

    def read_available(self) -> bytes:
        """Return what is here, without waiting. Raises what ``fail`` was given."""
        if self._error is not None:
            raise self._error
        block = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        if self._buffered_bytes > HIGH_WATER and self._connection is not None:
            self._connection.resume_reading()
        self._buffered_bytes = 0
        return block

    async def read(self) -> bytes:
        """Return the next block; empty at the end.

        Raises ``CallerError`` for a body that is no body, ``ConnectionError`` when the caller
        has gone.
        """
        while not self._blocks and not self.complete and self._error is None:
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        return self.read_available()

    def discard(self) -> None:
        """Forget what nobody will read, so that the caller may go on."""
        self._blocks.clear()
        if self._buffered_bytes > HIGH_WATER and self._connection is not None:
            self._connection.resume_reading()
        self._buffered_bytes = 0

    # What the connection calls.

    def feed(self, block: bytes) -> None:
        """Take a block that has arrived."""
        self._blocks.append(block)
        self._buffered_bytes += len(block)
        if self._buffered_bytes > HIGH_WATER and self._connection is not None:
            self._connection.pause_reading()
        self._notify()

    def finish(self) -> None:
        """Note that nothing follows."""
        self.complete = True
        self._notify()

    def fail(self, error: Exception) -> None:
        """Note that the rest will never come."""
        if not self.complete:
            self._error = error
            self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


NO_BODY = Body(None, complete=True)


@final
class Request:
    """A request as it came. ``version`` is ``(1, 1)`` or ``(1, 0)``; ``target`` is raw."""

    __slots__ = (
        "body",
        "connection",
        "headers",
        "keep_alive",
        "method",
        "page_origin",
        "target",
        "version",
    )

    def __init__(
        self,
        connection: RequestConnection,
        method: str,
        target: bytes,
        version: tuple[int, int],
        headers: list[tuple[bytes, bytes]],
        keep_alive: bool,
    ) -> None:
        self.connection = connection
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = NO_BODY
        # The foreign origin whose page may read the response; empty for every other caller.
        self.page_origin = b""

    def with_headers(self, headers: list[tuple[bytes, bytes]]) -> "Request":
        """Return the same request with other headers; this one stays as it came."""
        other = Request(
            self.connection, self.method, self.target, self.version, headers, self.keep_alive
        )
        other.body = self.body
        return other


class Response:
    """What is left to write when a request has been served: all of the answer, or nothing.

    ``keep_alive`` says whether the connection may serve another.
    """

    __slots__ = ("data", "keep_alive")

    def __init__(self, data: bytes = b"", *, keep_alive: bool) -> None:
        self.data = data
        self.keep_alive = keep_alive
