"""A caller's request, its body as it arrives, and the response."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, final

from proxy.server.caller import Caller
from proxy.server.memory import BLOCK_OVERHEAD, HEADER_OVERHEAD

HIGH_WATER = 131_072
"""Bytes of a body buffered for a slow upstream before reading from the caller is paused."""


class RequestConnection(Protocol):
    """The connection of a request, as far as forwarding uses it."""

    is_tls: bool
    caller: Caller

    async def deliver(self, data: bytes) -> None:
        """Send ``data``, with back-pressure. Raises ``ConnectionError``."""

    def reset(self) -> None:
        """Reset the connection, so that its end is not mistaken for the end of a response."""

    def local_address(self) -> tuple[str, int] | None:
        """Return the local address and port of the connection; None on a Unix socket."""

    def pause_reading(self) -> None:
        """Stop reading from the caller."""

    def resume_reading(self) -> None:
        """Read from the caller again."""


class Body:
    """The body of a request, in blocks. ``complete`` once its last byte has arrived."""

    __slots__ = ("_blocks", "_connection", "_error", "_wake", "buffered_bytes", "complete")

    def __init__(self, connection: RequestConnection | None, *, complete: bool = False) -> None:
        self._connection = connection
        self._blocks: list[bytes] = []
        self.buffered_bytes = 0
        self._error: Exception | None = None
        self._wake: asyncio.Future[None] | None = None
        self.complete = complete

    def read_available(self) -> bytes:
        """Return what has arrived, without waiting. Raises the error passed to ``fail``."""
        if self._error is not None:
            raise self._error
        block = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        if self.buffered_bytes > HIGH_WATER and self._connection is not None:
            self._connection.resume_reading()
        self.buffered_bytes = 0
        return block

    async def read(self) -> bytes:
        """Return the next block; empty at the end.

        Raises ``CallerError`` for an invalid body, ``ConnectionError`` when the caller has closed
        the connection.
        """
        while not self._blocks and not self.complete and self._error is None:
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        return self.read_available()

    def discard(self) -> None:
        """Drop the unread blocks and read from the caller again."""
        self._blocks.clear()
        if self.buffered_bytes > HIGH_WATER and self._connection is not None:
            self._connection.resume_reading()
        self.buffered_bytes = 0

    # The interface for the connection.

    def feed(self, block: bytes) -> None:
        """Append a block that has arrived."""
        self._blocks.append(block)
        self.buffered_bytes += len(block) + BLOCK_OVERHEAD
        if self.buffered_bytes > HIGH_WATER and self._connection is not None:
            self._connection.pause_reading()
        self._notify()

    def finish(self) -> None:
        """Mark the body as complete."""
        self.complete = True
        self._notify()

    def fail(self, error: Exception) -> None:
        """End the body with ``error``, which readers get."""
        if not self.complete:
            self._error = error
            self._notify()

    def drop(self, error: Exception) -> None:
        """Drop the blocks that have not been read; readers get ``error``, even at the end."""
        self._blocks.clear()
        self.buffered_bytes = 0
        self._error = error
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


NO_BODY = Body(None, complete=True)


@final
class Request:
    """A request as received. ``version`` is ``(1, 1)`` or ``(1, 0)``; ``target`` is raw."""

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
        # The allowed foreign origin (CORS) of the calling page; empty for other callers.
        self.page_origin = b""

    @property
    def head_bytes(self) -> int:
        """About how much memory the head takes."""
        sizes = [len(name) + len(value) + HEADER_OVERHEAD for name, value in self.headers]
        return len(self.target) + HEADER_OVERHEAD + sum(sizes)

    def with_headers(self, headers: list[tuple[bytes, bytes]]) -> "Request":
        """Return a copy of the request with other headers."""
        other = Request(
            self.connection, self.method, self.target, self.version, headers, self.keep_alive
        )
        other.body = self.body
        return other


class Response:
    """A response. Empty ``data`` means that it has been streamed already.

    ``keep_alive`` says whether the connection may serve another request.
    """

    __slots__ = ("data", "keep_alive")

    def __init__(self, data: bytes = b"", *, keep_alive: bool) -> None:
        self.data = data
        self.keep_alive = keep_alive


RequestHandler = Callable[[Request], Awaitable[Response]]
