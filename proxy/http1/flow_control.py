"""Back-pressure between a connection and its transport, both ways."""

import asyncio


class FlowControl:
    """Pauses reading from a transport, and makes writers wait while its buffer is full.

    ``drained`` is set while a writer has to wait, and done when it may go on.
    """

    __slots__ = ("_loop", "_transport", "drained", "is_reading_paused")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self.drained: asyncio.Future[None] | None = None
        self.is_reading_paused = False

    def attach(self, transport: asyncio.Transport) -> None:
        """Use this transport."""
        self._transport = transport

    def detach(self) -> None:
        """Drop a closed transport and wake writers."""
        self._transport = None
        self.resume_writing()

    def pause_reading(self) -> None:
        """Read nothing until ``resume_reading``."""
        self.is_reading_paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self.is_reading_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Make writers wait: the transport's buffer is full."""
        if self.drained is None:
            self.drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Wake writers."""
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(None)
        self.drained = None
