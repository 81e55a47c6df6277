"""A scripted upstream: a server on a raw socket that runs a short script on each connection.

::

    async with ScriptedUpstream([read(), send(ok(b"yes")), close()]) as upstream:
        ...                              # each connection gets one response and is closed
    async with ScriptedUpstream([read(), reset()], [forever(read(), send(ok(b"yes")))]) as upstream:
        ...                              # the first is reset; all later ones get responses

The connection is closed at the end of its script. ``upstream.requests`` has the requests.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

ScriptStep = Callable[["UpstreamConnection"], Awaitable[None]]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class UpstreamConnection:
    """One accepted connection."""

    def __init__(
        self,
        upstream: "ScriptedUpstream",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.upstream = upstream
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """Read one request up to its body."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Read one request with its body (RFC 9112 section 6.3)."""
        head = await self.head()
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            return head + await self.reader.readexactly(int(length[1]))
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            return head + await self._chunks()
        return head

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            line = await self.reader.readuntil(b"\r\n")
            body += line + await self.reader.readexactly(int(line, 16) + 2)
            if line == b"0\r\n":
                return body

    def reset(self) -> None:
        """Reset the connection."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.writer.transport.abort()


class ScriptedUpstream:
    """A server on a free port of 127.0.0.1; the n-th connection runs the n-th script.

    The last script serves all further connections too.
    """

    def __init__(self, *scripts: Sequence[ScriptStep], tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.open = 0
        self.requests: list[bytes] = []
        self.may_continue = asyncio.Event()
        """Set by a test: scripts continue after ``wait()``."""
        self.port = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the port and all connections."""
        assert self._server is not None
        self._server.close()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        self.open += 1
        try:
            for step in script:
                await step(UpstreamConnection(self, reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # The proxy may close a connection at any time.
        except asyncio.CancelledError:
            pass  # The test is over.
        finally:
            self.open -= 1
            self._running.discard(task)
            writer.transport.abort()


def read() -> ScriptStep:
    """Read one request with its body."""

    async def step(link: UpstreamConnection) -> None:
        link.upstream.requests.append(await link.request())

    return step


def read_head() -> ScriptStep:
    """Read one request up to its body."""

    async def step(link: UpstreamConnection) -> None:
        link.upstream.requests.append(await link.head())

    return step


def read_rest(size: int) -> ScriptStep:
    """Read and discard a body of ``size`` bytes, and send a response."""

    async def step(link: UpstreamConnection) -> None:
        left = size
        while left > 0:
            left -= len(await link.reader.read(min(left, 1 << 20)))
        link.writer.write(ok(b"well"))

    return step


def send(*blocks: bytes, every: float = 0.0) -> ScriptStep:
    """Send blocks one by one, ``every`` seconds apart."""

    async def step(link: UpstreamConnection) -> None:
        for at, block in enumerate(blocks):
            if at:
                await asyncio.sleep(every)
            link.writer.write(block)
            await link.writer.drain()

    return step


def wait() -> ScriptStep:
    """Wait until the test sets ``upstream.may_continue``."""

    async def step(link: UpstreamConnection) -> None:
        await link.upstream.may_continue.wait()

    return step


def hold() -> ScriptStep:
    """Wait until the other side closes the connection."""

    async def step(link: UpstreamConnection) -> None:
        while await link.reader.read(65_536):
            pass

    return step


def sleep(seconds: float) -> ScriptStep:
    """Do nothing for a time, not even read."""

    async def step(_link: UpstreamConnection) -> None:
        await asyncio.sleep(seconds)

    return step


def close() -> ScriptStep:
    """Close the connection."""

    async def step(link: UpstreamConnection) -> None:
        link.writer.close()
        await link.writer.wait_closed()

    return step


def reset() -> ScriptStep:
    """Reset the connection."""

    async def step(link: UpstreamConnection) -> None:
        link.reset()

    return step


def forever(*steps: ScriptStep) -> ScriptStep:
    """Repeat the steps until the other side ends the connection."""

    async def step(link: UpstreamConnection) -> None:
        while True:
            for one in steps:
                await one(link)

    return step


def ok(body: bytes = b"", *headers: bytes) -> bytes:
    """Return a 200 response with ``body``."""
    return response_head(b"200 OK", b"Content-Length: %d" % len(body), *headers) + body


def response_head(status: bytes, *headers: bytes) -> bytes:
    """Return the head of a response."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", b""])


def chunked(*blocks: bytes) -> bytes:
    """Return a 200 response with a chunked body."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)
    return response_head(b"200 OK", b"Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"


def respond_to_all(body: bytes = b"yes") -> list[ScriptStep]:
    """Return a script that sends a 200 response to each request."""
    return [forever(read(), send(ok(body)))]
