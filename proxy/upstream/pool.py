"""The connections to the upstream: checkout, limits, ages.

The origin is fixed by the configuration; a request cannot change it.
"""

import asyncio
import time
from collections.abc import Callable

from proxy.errors import ProxyError, kinds
from proxy.upstream.connection import Connection
from proxy.upstream.dialer import Dialer
from proxy.upstream.pool_share import Place, PoolShare, share_out
from proxy.upstream.upstream_settings import UpstreamSettings

MAX_CLOCK_STEP = 5.0
"""Seconds by which the wall clock may step against the loop's clock between two requests.

The loop's clock stops while a machine is suspended (golang/go#29308), and a NAT or firewall on the
way has forgotten the idle connections of before; a request on one of them would get no response.
"""


class Pool:
    """A pool of connections; checkout prefers the most recently used one.

    ``open_count`` is the number of connections that are open or being opened, ``opened_count``
    the number opened so far, ``waiting_count`` that of requests that wait. ``shares`` are those of
    ``listeners`` listeners.
    """

    def __init__(
        self,
        dialer: Dialer,
        settings: UpstreamSettings,
        wall: Callable[[], float] = time.time,
        listeners: int = 1,
    ) -> None:
        self._dialer = dialer
        self._settings = settings
        # Kept, because in Python 3.11 every look-up of the running loop is a system call.
        self._loop = asyncio.get_running_loop()
        self._wall = wall
        self._wall_offset = wall() - self._loop.time()
        self._idle: list[Connection] = []
        own = share_out(settings.max_connections, listeners)
        places = share_out(settings.max_waiting, listeners)
        self.shares = [PoolShare(own, places) for _ in range(listeners)]
        # Connections in use beyond those that are guaranteed to a listener.
        self._common = 0
        self._max_common = settings.max_connections - own * listeners
        self._turn = 0
        self.waiting_count = 0
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self.open_count = 0
        self.opened_count = 0

    @property
    def limit(self) -> int:
        """Limit of open connections."""
        return self._settings.max_connections

    @property
    def idle_count(self) -> int:
        """Number of unused open connections."""
        return len(self._idle)

    def checkout(self, share: PoolShare | None = None) -> Connection | None:
        """Return a usable idle connection, if there is one and the listener may have it."""
        share = share or self.shares[0]
        now = self._loop.time()
        offset = self._wall() - now
        if not -MAX_CLOCK_STEP < offset - self._wall_offset < MAX_CLOCK_STEP:
            self._discard_idle()
        self._wall_offset = offset
        while self._idle:
            if share.in_use >= share.guaranteed and self._common >= self._max_common:
                return None
            connection = self._idle.pop()
            if self._is_reusable(connection, now):
                # What ``_take`` does, without a call.
                if share.in_use >= share.guaranteed:
                    self._common += 1
                share.in_use += 1
                connection.share = share
                return connection
            self._discard(connection)
        return None

    async def connect(self, share: PoolShare | None = None, *, new: bool = False) -> Connection:
        """Return a new connection, or where the listener may have no more the next released one.

        With ``new`` a released connection is closed and replaced by a new one. Raises
        ``UpstreamError`` when none can be opened, ``ProxyError`` (503) when all are in use and
        ``max_waiting`` or ``max_wait`` is exceeded.
        """
        share = share or self.shares[0]
        if not self._take(share):
            freed = await self._queue(share)
            if freed is not None:
                if not new and freed.is_alive():
                    freed.share = share
                    return freed
                freed.abort()
        elif self.open_count < self._settings.max_connections:
            self.open_count += 1
        else:
            self._idle.pop(0).abort()  # as less than all are in use, one is idle
        # This call now holds a counted slot, which it frees if no connection can be opened.
        try:
            connection = await self._open()
        except BaseException:
            self._give_back(share)
            self._free_slot()
            raise
        connection.share = share
        return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back after an exchange; close it unless it can be reused."""
        # What ``_give_back`` does, without a call.
        share = connection.share
        if share is not None:
            share.in_use -= 1
            if share.in_use >= share.guaranteed:
                self._common -= 1
        now = self._loop.time()
        too_old = now - connection.created_at > self._settings.max_age
        if too_old or self._closed or not connection.is_reusable:
            self._discard(connection)
            return
        connection.mark_idle(now)
        waiter = self._next_waiter() if self.waiting_count else None
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

    def _take(self, share: PoolShare) -> bool:
        """Count one more connection of a listener, if it may have one."""
        if share.in_use >= share.guaranteed:
            if self._common >= self._max_common:
                return False
            self._common += 1
        share.in_use += 1
        return True

    def _give_back(self, share: PoolShare) -> None:
        share.in_use -= 1
        if share.in_use >= share.guaranteed:
            self._common -= 1

    def _next_waiter(self) -> "Place | None":
        """Return who is next, of the listeners in turn; its connection is counted already."""
        for _ in self.shares:
            share = self.shares[self._turn]
            self._turn = (self._turn + 1) % len(self.shares)
            while share.queue and share.queue[0].done():
                _ = share.queue.popleft()
                self.waiting_count -= 1
            if share.queue and self._take(share):
                self.waiting_count -= 1
                return share.queue.popleft()
        return None

    async def _queue(self, share: PoolShare) -> Connection | None:
        common_places = self._settings.max_waiting // 2
        if len(share.queue) >= share.guaranteed_places and (
            self.waiting_count >= common_places or len(self.shares) == 1
        ):
            raise ProxyError(kinds.UPSTREAM_BUSY)
        place: Place = self._loop.create_future()
        share.queue.append(place)
        self.waiting_count += 1
        try:
            async with asyncio.timeout(self._settings.max_wait):
                connection: Connection | None = await place
                return connection
        except BaseException as error:
            self._return_slot(share, place)
            if isinstance(error, TimeoutError):
                raise ProxyError(kinds.UPSTREAM_BUSY) from None
            raise

    def _return_slot(self, share: PoolShare, place: "Place") -> None:
        # The place may have been granted in the moment in which its owner stopped waiting.
        if not place.done() or place.cancelled():
            if place in share.queue:
                share.queue.remove(place)
                self.waiting_count -= 1
            return
        self._give_back(share)
        connection = place.result()
        if connection is None:
            self._free_slot()
        else:
            self._discard(connection)

    async def _open(self) -> Connection:
        connection = await self._dialer.connect(self._create_connection)
        self.opened_count += 1
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
