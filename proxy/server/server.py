"""Accepts client connections up to a limit and closes them at shutdown."""

import asyncio
from collections.abc import Callable

from proxy.errors import ProxyError, kinds
from proxy.server.caller import Caller
from proxy.server.connection import CallerConnection
from proxy.server.limits import CallerLimits
from proxy.server.memory import HoldsInput, MemoryBudget
from proxy.server.messages import RequestHandler, Response
from proxy.server.refusals import Refusals
from proxy.tasks import Tasks

MAX_REFUSED = 32
"""Connections over the limit that get a 503; further ones are closed without a response."""


class Server:
    """Makes a connection for each caller.

    ``handle`` serves requests; ``refuse`` makes the response to invalid input. ``refusals``
    counts the connections that are closed because of a limit. ``memory`` is shared by servers.
    """

    def __init__(
        self,
        handle: RequestHandler,
        refuse: Callable[[ProxyError, Caller], Response],
        limits: CallerLimits,
        refusals: Refusals | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.handle = handle
        self.refuse = refuse
        self.loop = asyncio.get_running_loop()
        self.tasks = Tasks("listener")
        self._limits = limits
        # In the order of arrival, so that the oldest idle one is closed first.
        self._connections: dict[CallerConnection, None] = {}
        self.refusals = refusals or Refusals()
        self.memory = memory or MemoryBudget(limits.max_memory)
        self.memory.add(self)
        self._all_closed: asyncio.Event | None = None

    def __call__(self) -> CallerConnection:
        """Make the protocol for a new connection."""
        return CallerConnection(self, self._limits)

    @property
    def connection_count(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    def holders(self) -> list[HoldsInput]:
        """Return the open connections, as the memory budget sees them."""
        return list(self._connections)

    def connection_opened(self, connection: CallerConnection) -> None:
        """Register a connection; over the limit, close an unserved one or refuse this one."""
        if len(self._connections) >= self._limits.max_connections:
            self.refusals.note("connections", f"{self._limits.max_connections}")
        if len(self._connections) >= self._limits.max_connections + MAX_REFUSED:
            connection.abort()
        elif len(self._connections) >= self._limits.max_connections:
            unserved = next((one for one in self._connections if one.is_waiting), None)
            if unserved is None:
                connection.refuse(ProxyError(kinds.TOO_MANY_CONNECTIONS))
            else:
                self.connection_closed(unserved)  # at once, before further ones are accepted
                unserved.abort()
        self._connections[connection] = None

    def connection_closed(self, connection: CallerConnection) -> None:
        """Remove a connection."""
        self._connections.pop(connection, None)
        if self._all_closed is not None and not self._connections:
            self._all_closed.set()

    async def wait_closed(self) -> None:
        """Wait until all connections are closed."""
        self._all_closed = asyncio.Event()
        if self._connections:
            await self._all_closed.wait()

    def close(self) -> None:
        """Serve no more requests: close idle connections now, the others after their response."""
        for connection in list(self._connections):
            connection.close()

    async def abort(self) -> None:
        """Close every connection now."""
        for connection in list(self._connections):
            connection.abort()
        await self.tasks.cancel()
