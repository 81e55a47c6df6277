"""Every way in, open: a port and a server for each, and the forwarder behind it."""

import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping

from proxy.config.listeners import ListenerConfig
from proxy.config.model import Config
from proxy.errors import CallerError, ConfigError, ProxyError, kinds
from proxy.forwarding.authentication import server_context
from proxy.forwarding.forwarder import Forwarder
from proxy.server.address import Address
from proxy.server.memory import MemoryBudget
from proxy.server.messages import Request, Response
from proxy.server.port import Port
from proxy.server.refusals import Refusals
from proxy.server.server import Server

RequestHandler = Callable[[Request], Awaitable[Response]]


def contexts(config: Config) -> dict[str, ssl.SSLContext | None]:
    """Return what each listener speaks TLS with, if it does. Raises ``ConfigError``."""
    return {
        listener.name: server_context(listener.callers, listener.path)
        for listener in config.listener_configs
    }


class Listener:
    """One way in. ``forwarder`` takes its requests, and is replaced when the core is."""

    def __init__(
        self,
        listener_config: ListenerConfig,
        config: Config,
        forwarder: Forwarder,
        wrap_handler: Callable[[RequestHandler], RequestHandler],
        warn: Callable[[str], None],
        memory: MemoryBudget,
    ) -> None:
        self.listener_config = listener_config
        self.forwarder = forwarder
        self.tls = server_context(listener_config.callers, listener_config.path)
        where = f" of listener {listener_config.name}" if listener_config.path else ""
        self.refusals = Refusals(warn, where)
        self.server = Server(
            wrap_handler(self._handle), self._refuse, config.limits, self.refusals, memory
        )
        self.port = Port(
            self.server,
            listener_config.address,
            config.limits.header_timeout,
            f"{listener_config.path}listen",
            max_handshakes=config.limits.max_handshakes,
            refusals=self.refusals,
            plain_http_response=self._refuse_plain_http,
        )

    async def open(self) -> Address:
        """Begin to listen; return where. Raises ``ConfigError``."""
        return await self.port.open(self.tls, int(self.listener_config.callers.socket_mode, 8))

    def restart_errors(self, listener_config: ListenerConfig) -> list[str]:
        """Say what of a changed way cannot be taken without a restart."""
        path, before, after = (
            listener_config.path,
            self.listener_config.callers,
            listener_config.callers,
        )
        errors = []
        if listener_config.address != self.listener_config.address:
            errors.append(f"{path}listen: changed; restart the proxy to take it")
        if (after.certificate_file is None) != (self.tls is None):
            errors.append(
                f"{path}callers.certificate_file: restart the proxy to turn TLS on or off"
            )
        if after.socket_mode != before.socket_mode:
            errors.append(f"{path}callers.socket_mode: changed; restart the proxy to take it")
        return errors

    def _handle(self, request: Request) -> Awaitable[Response]:
        return self.forwarder.handle(request)

    def _refuse_plain_http(self) -> bytes:
        return self._refuse(CallerError(kinds.HTTP_ON_TLS)).data

    def _refuse(self, error: ProxyError) -> Response:
        return self.forwarder.refuse(error)


class Listeners:
    """All of them. ``addresses`` are known once they are open (port 0 is allowed)."""

    def __init__(
        self,
        config: Config,
        forwarders: Mapping[str, Forwarder],
        wrap_handler: Callable[[RequestHandler], RequestHandler],
        warn: Callable[[str], None],
        memory: MemoryBudget,
    ) -> None:
        self._listeners = {
            listener.name: Listener(
                listener, config, forwarders[listener.name], wrap_handler, warn, memory
            )
            for listener in config.listener_configs
        }
        self.addresses: dict[str, Address] = {}

    @property
    def connection_count(self) -> int:
        """How many callers are connected."""
        return sum(listener.server.connection_count for listener in self._listeners.values())

    def refused_connections(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Yield how many connections were ended for a limit, by listener and reason."""
        for name, listener in self._listeners.items():
            for reason, count in listener.refusals.counts.items():
                yield (name, reason), count

    @property
    def count(self) -> int:
        """How many ways in there are; each has the limits on callers for itself."""
        return len(self._listeners)

    async def open(self) -> None:
        """Begin to listen everywhere, or nowhere. Raises ``ConfigError`` for a port in use."""
        try:
            for name, listener in self._listeners.items():
                self.addresses[name] = await listener.open()
        except ConfigError:
            self.close()
            raise

    def restart_errors(self, config: Config) -> list[str]:
        """Say what of a changed configuration cannot be taken without a restart."""
        listeners = {listener.name: listener for listener in config.listener_configs}
        errors = [
            f"listeners.{name}: came or went; restart the proxy to take it"
            for name in sorted(listeners.keys() ^ self._listeners.keys())
        ]
        for name, listener in self._listeners.items():
            errors += listener.restart_errors(listeners[name]) if name in listeners else ()
        return errors

    def replace_certificates(self, contexts: Mapping[str, ssl.SSLContext | None]) -> None:
        """Let connections from now on see these certificates."""
        for name, context in contexts.items():
            if context is not None:
                self._listeners[name].port.replace_tls(context)

    def switch_to(self, config: Config, forwarders: Mapping[str, Forwarder]) -> None:
        """Let requests from now on go to the forwarders of another core."""
        for listener in config.listener_configs:
            self._listeners[listener.name].listener_config = listener
            self._listeners[listener.name].forwarder = forwarders[listener.name]

    def close(self) -> None:
        """Listen no more; idle connections end now, the others after their answer."""
        for listener in self._listeners.values():
            listener.port.close()
            listener.server.close()

    async def wait_closed(self) -> None:
        """Wait until nobody is connected any more."""
        for listener in self._listeners.values():
            await listener.server.wait_closed()

    async def abort(self) -> None:
        """End every connection, whatever is under way."""
        for listener in self._listeners.values():
            await listener.server.abort()
