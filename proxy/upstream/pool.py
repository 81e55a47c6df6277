"""The connections to the upstream: checkout, limits, ages.

The origin is fixed by the configuration; a request cannot change it.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.errors import ProxyError, kinds
from proxy.upstream.connection import Connection
from proxy.upstream.failures import connect_error
from proxy.upstream.tunnel import OutboundProxy, open_tunnel
from proxy.upstream.upstream_settings import UpstreamSettings


@dataclass(frozen=True, slots=True)
class UpstreamOrigin:
    """The origin of all requests. ``tls`` None means plain HTTP, which only a sandbox uses.

    With ``proxy``, connections are tunnelled through an HTTP proxy.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: OutboundProxy | None = None

    @property
    def host_header(self) -> bytes:
        """The value of ``Host``: with the port unless it is the scheme's default."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.tls else 80
        return (name if self.port == default else f"{name}:{self.port}").encode("ascii")


MAX_CLOCK_STEP = 5.0
"""Seconds by which the wall clock may step against the loop's clock between two requests.

The loop's clock stops while a machine is suspended (golang/go#29308), and a NAT or firewall on the
way has forgotten the idle connections of before; a request on one of them would get no response.
"""


class Pool:
    """A pool of connections; checkout prefers the most recently used one.

    ``open_count`` is the number of connections that are open or being opened, ``opened_count``
    the number opened so far.
    """

    def __init__(
        self,
        origin: UpstreamOrigin,
        settings: UpstreamSettings,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._origin = origin
        self._settings = settings
        # Kept, because in Python 3.11 every look-up of the running loop is a system call.
        self._loop = asyncio.get_running_loop()
        self._wall = wall
        self._wall_offset = wall() - self._loop.time()
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self.open_count = 0
        self.opened_count = 0

    @property
    def idle_count(self) -> int:
        """Number of unused open connections."""
        return len(self._idle)

    @property
    def waiting_count(self) -> int:
        """Number of requests that wait for a connection."""
        return len(self._waiting)

    def checkout(self) -> Connection | None:
        """Return a usable idle connection, if there is one."""
        now = self._loop.time()
        offset = self._wall() - now
        if abs(offset - self._wall_offset) > MAX_CLOCK_STEP:
            self._discard_idle()
        self._wall_offset = offset
        while self._idle:
            connection = self._idle.pop()
            if self._is_reusable(connection, now):
                return connection
            self._discard(connection)
        return None

    async def connect(self, *, new: bool = False) -> Connection:
        """Return a new connection, or at ``max_connections`` the next that is released.

        With ``new`` a released connection is closed and replaced by a new one. Raises
        ``UpstreamError`` when none can be opened, ``ProxyError`` (503) when all are in use and
        ``max_waiting`` or ``max_wait`` is exceeded.
        """
        if self.open_count >= self._settings.max_connections:
            freed = await self._queue()
            if freed is not None:
                if not new and freed.is_alive():
                    return freed
                freed.abort()
        else:
            self.open_count += 1
        # This call now holds a counted slot, which it frees if no connection can be opened.
        try:
            return await self._open()
        except BaseException:
            self._free_slot()
            raise

    def release(self, connection: Connection) -> None:
        """Take a connection back after an exchange; close it unless it can be reused."""
        now = self._loop.time()
        too_old = now - connection.created_at > self._settings.max_age
        if too_old or self._closed or not connection.is_reusable:
            self._discard(connection)
            return
        connection.mark_idle(now)
        waiter = self._next_waiter() if self._waiting else None
        if waiter is not None:
            waiter.set_result(connection)
            return
        self._idle.append(connection)
        if self._reaper is None:
            self._schedule_reaper()

    def close(self) -> None:
        """Close idle connections now and the others when they are released."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
            self.open_count -= 1
        self._idle.clear()
        if self._reaper is not None:
            self._reaper.cancel()

    def _is_reusable(self, connection: Connection, now: float) -> bool:
        return (
            now - connection.idle_since < self._settings.max_idle_age
            and now - connection.created_at <= self._settings.max_age
            and connection.is_alive()
        )

    def _discard_idle(self) -> None:
        while self._idle:
            self._discard(self._idle.pop())

    def _discard(self, connection: Connection) -> None:
        connection.abort()
        self._free_slot()

    def _free_slot(self) -> None:
        waiter = self._next_waiter()
        if waiter is None:
            self.open_count -= 1
        else:
            waiter.set_result(None)

    def _next_waiter(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    async def _queue(self) -> Connection | None:
        if len(self._waiting) >= self._settings.max_waiting:
            raise ProxyError(kinds.UPSTREAM_BUSY)
        place: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self._settings.max_wait):
                return await place
        except BaseException as error:
            self._return_slot(place)
            if isinstance(error, TimeoutError):
                raise ProxyError(kinds.UPSTREAM_BUSY) from None
            raise

    def _return_slot(self, place: "asyncio.Future[Connection | None]") -> None:
        # The slot may have been assigned just before the waiter gave up.
        if not place.done() or place.cancelled():
            if place in self._waiting:
                self._waiting.remove(place)
            return
        connection = place.result()
        if connection is None:
            self._free_slot()
        else:
            self._discard(connection)

    async def _open(self) -> Connection:
        deadline = self._loop.time() + self._settings.connect_timeout
        try:
            connection = await self._connect_socket(self._origin, deadline)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            raise connect_error(error) from error
        self.opened_count += 1
        return connection

    async def _connect_socket(self, origin: UpstreamOrigin, deadline: float) -> Connection:
        name = origin.host if origin.tls else None
        where: dict[str, Any] = {"host": origin.host, "port": origin.port}
        if origin.proxy is not None:
            where = {"sock": await open_tunnel(origin.proxy, origin.host, origin.port, deadline)}
        async with asyncio.timeout_at(deadline):
            _, connection = await self._loop.create_connection(
                self._create_connection, **where, ssl=origin.tls, server_hostname=name
            )
        return connection

    def _create_connection(self) -> Connection:
        return Connection(self._loop, self._settings, self.release)

    def _schedule_reaper(self) -> None:
        self._reaper = self._loop.call_later(self._settings.max_idle_age, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        now = self._loop.time()
        remaining = [connection for connection in self._idle if self._is_reusable(connection, now)]
        for connection in set(self._idle).difference(remaining):
            self._discard(connection)
        self._idle = remaining
        if remaining:
            self._schedule_reaper()
