"""Every way in, open: a port and a server for each, and the forwarder behind it."""

import ssl
from collections.abc import Awaitable, Callable, Mapping

from proxy.config.listeners import Way
from proxy.config.model import Config
from proxy.errors import ConfigError, ProxyError
from proxy.forwarding.authentication import server_context
from proxy.forwarding.forwarder import Forwarder
from proxy.runtime import build
from proxy.server.address import Address
from proxy.server.messages import Answer, Request
from proxy.server.port import Port
from proxy.server.server import Server

Handle = Callable[[Request], Awaitable[Answer]]


def contexts(config: Config) -> dict[str, ssl.SSLContext | None]:
    """Return what each listener speaks TLS with, if it does. Raises ``ConfigError``."""
    return {way.name: server_context(way.callers, way.path) for way in config.ways}


class Door:
    """One way in. ``forwarder`` takes its requests, and is replaced when the core is."""

    def __init__(
        self,
        way: Way,
        config: Config,
        forwarder: Forwarder,
        around: Callable[[Handle], Handle],
        warn: Callable[[str], None],
    ) -> None:
        self.way = way
        self.forwarder = forwarder
        self.tls = server_context(way.callers, way.path)
        self.server = Server(around(self._handle), self._refuse, build.caller_limits(config))
        most = config.limits.max_connections
        where = f" of listener {way.name}" if way.path else ""
        self.server.full = lambda: warn(
            f"as many callers{where} as may be ({most}); others are refused"
        )
        self.port = Port(
            self.server, way.address, config.limits.header_timeout, f"{way.path}listen"
        )

    async def open(self) -> Address:
        """Begin to listen; return where. Raises ``ConfigError``."""
        return await self.port.open(self.tls, int(self.way.callers.socket_mode, 8))

    def mistakes(self, way: Way) -> list[str]:
        """Say what of a changed way cannot be taken without a restart."""
        path, before, after = way.path, self.way.callers, way.callers
        found = []
        if way.address != self.way.address:
            found.append(f"{path}listen: changed; restart the proxy to take it")
        if (after.certificate_file is None) != (self.tls is None):
            found.append(f"{path}callers.certificate_file: restart the proxy to turn TLS on or off")
        if after.socket_mode != before.socket_mode:
            found.append(f"{path}callers.socket_mode: changed; restart the proxy to take it")
        return found

    def _handle(self, request: Request) -> Awaitable[Answer]:
        return self.forwarder.handle(request)

    def _refuse(self, error: ProxyError) -> Answer:
        return self.forwarder.refuse(error)


class Doors:
    """All of them. ``addresses`` are known once they are open (port 0 is allowed)."""

    def __init__(
        self,
        config: Config,
        forwarders: Mapping[str, Forwarder],
        around: Callable[[Handle], Handle],
        warn: Callable[[str], None],
    ) -> None:
        self._doors = {
            way.name: Door(way, config, forwarders[way.name], around, warn) for way in config.ways
        }
        self.addresses: dict[str, Address] = {}

    @property
    def connections(self) -> int:
        """How many callers are connected."""
        return sum(door.server.connections for door in self._doors.values())

    @property
    def refused(self) -> int:
        """How many connections of callers were ended because there were too many."""
        return sum(door.server.refused for door in self._doors.values())

    @property
    def count(self) -> int:
        """How many ways in there are; each has the limits on callers for itself."""
        return len(self._doors)

    async def open(self) -> None:
        """Begin to listen everywhere, or nowhere. Raises ``ConfigError`` for a port in use."""
        try:
            for name, door in self._doors.items():
                self.addresses[name] = await door.open()
        except ConfigError:
            self.close()
            raise

    def mistakes(self, config: Config) -> list[str]:
        """Say what of a changed configuration cannot be taken without a restart."""
        ways = {way.name: way for way in config.ways}
        found = [
            f"listeners.{name}: came or went; restart the proxy to take it"
            for name in sorted(ways.keys() ^ self._doors.keys())
        ]
        for name, door in self._doors.items():
            found += door.mistakes(ways[name]) if name in ways else ()
        return found

    async def renew(self, contexts: Mapping[str, ssl.SSLContext | None]) -> None:
        """Let connections from now on see these certificates."""
        for name, context in contexts.items():
            if context is not None:
                await self._doors[name].port.renew(context)

    def lead_to(self, config: Config, forwarders: Mapping[str, Forwarder]) -> None:
        """Let requests from now on go to the forwarders of another core."""
        for way in config.ways:
            self._doors[way.name].way = way
            self._doors[way.name].forwarder = forwarders[way.name]

    def close(self) -> None:
        """Listen no more; idle connections end now, the others after their answer."""
        for door in self._doors.values():
            door.port.close()
            door.server.close()

    async def finished(self) -> None:
        """Wait until nobody is connected any more."""
        for door in self._doors.values():
            await door.server.finished()

    async def abort(self) -> None:
        """End every connection, whatever is under way."""
        for door in self._doors.values():
            await door.server.abort()
