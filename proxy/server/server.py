"""Who is connected: accepts callers up to a limit, and lets them go when it ends."""

import asyncio
from collections.abc import Awaitable, Callable

from proxy.errors import ProxyError, kinds
from proxy.server.connection import CallerConnection
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request, Response
from proxy.tasks import Tasks

STANDING = 32
"""Callers over the limit who are told that there is no room; further ones are just cut off."""


class Server:
    """Makes a connection for each caller; ``handle`` answers requests, ``refuse`` what is none.

    ``on_full`` is called when the limit on connections is reached; ``refused_connections`` counts
    the connections that have been ended for it.
    """

    def __init__(
        self,
        handle: Callable[[Request], Awaitable[Response]],
        refuse: Callable[[ProxyError], Response],
        limits: CallerLimits,
    ) -> None:
        self.handle = handle
        self.refuse = refuse
        self.loop = asyncio.get_running_loop()
        self.tasks = Tasks("listener")
        self._limits = limits
        # In the order of their coming, so that of the idle ones the oldest goes first.
        self._connections: dict[CallerConnection, None] = {}
        self._is_full = False
        self.refused_connections = 0
        self._all_closed: asyncio.Event | None = None
        self.on_full: Callable[[], None] = lambda: None

    def __call__(self) -> CallerConnection:
        """Make the protocol for a new connection."""
        return CallerConnection(self, self._limits)

    @property
    def connection_count(self) -> int:
        """How many callers are connected."""
        return len(self._connections)

    def connection_opened(self, connection: CallerConnection) -> None:
        """Take a connection; over the limit an unserved one has to go, or else the newcomer."""
        if len(self._connections) >= self._limits.max_connections:
            self.refused_connections += 1
        if len(self._connections) >= self._limits.max_connections + STANDING:
            connection.abort()
        elif len(self._connections) >= self._limits.max_connections:
            self._note_full()
            unserved = next((one for one in self._connections if one.is_waiting), None)
            if unserved is None:
                connection.refuse(ProxyError(kinds.TOO_MANY_CONNECTIONS))
            else:
                self.connection_closed(unserved)  # at once: more newcomers may stand at the door
                unserved.abort()
        self._connections[connection] = None

    def connection_closed(self, connection: CallerConnection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)
        if self._is_full and len(self._connections) <= self._limits.max_connections // 2:
            self._is_full = False
        if self._all_closed is not None and not self._connections:
            self._all_closed.set()

    async def wait_closed(self) -> None:
        """Wait until nobody is connected any more."""
        self._all_closed = asyncio.Event()
        if self._connections:
            await self._all_closed.wait()

    def _note_full(self) -> None:
        """Tell, once for each time that the house fills up."""
        if not self._is_full:
            self._is_full = True
            self.on_full()

    def close(self) -> None:
        """Take no more requests: idle connections end now, the others after their answer."""
        for connection in list(self._connections):
            connection.close()

    async def abort(self) -> None:
        """End every connection, whatever is under way."""
        for connection in list(self._connections):
            connection.abort()
        await self.tasks.cancel()
