"""An outbound HTTP proxy on a real socket: tunnels with ``CONNECT``, or fails as set."""

import asyncio
import re
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.tcp_relay import copy


@dataclass
class ConnectProxy:
    """Listens on a free port of 127.0.0.1.

    With ``login``, a ``user:password``, it requires proxy authentication; with ``tls`` it speaks
    TLS. ``response`` replaces its response; ``silent`` sends none. ``target_port`` is a local port
    that it connects to whatever the request says. ``heads`` are the received request heads.
    """

    login: str = ""
    response: bytes = b""
    silent: bool = False
    target_port: int = 0
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    heads: list[str] = field(default_factory=list)
    port: int = 0
    open: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Return its URL, as in the setting ``upstream.proxy``."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port and every tunnel."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # asyncio logs an error for a cancelled handler
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        self.heads.append(head)
        if self.silent:
            await asyncio.Event().wait()
        if self.response:
            writer.write(self.response)
            return
        if not self._has_login(head):
            writer.write(b"HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
        target = re.match(r"CONNECT (\S+):(\d+) HTTP/1.1\r\n", head)
        if target is None:
            writer.write(b"HTTP/1.1 400 Only tunnels\r\n\r\n")
            return
        where = (target[1].strip("[]"), int(target[2]))
        if self.target_port:
            where = ("127.0.0.1", self.target_port)
        there, back = await asyncio.open_connection(*where)
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: company\r\n\r\n")
        try:
            await asyncio.gather(copy(reader, back), copy(there, writer))
        finally:
            back.close()

    def _has_login(self, head: str) -> bool:
        header = f"Proxy-Authorization: Basic {b64encode(self.login.encode()).decode()}\r\n"
        return not self.login or header in head
