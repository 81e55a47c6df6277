"""The listeners: a port, a server and a forwarder for each."""

import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping

from proxy.config.listener_settings import ListenerConfig
from proxy.config.model import Config
from proxy.errors import CallerError, ConfigError, ProxyError, kinds
from proxy.forwarding.authentication import server_context
from proxy.forwarding.forwarder import Forwarder
from proxy.server.address import Address
from proxy.server.caller import Caller
from proxy.server.memory import MemoryBudget
from proxy.server.messages import Request, RequestHandler, Response
from proxy.server.port import Port
from proxy.server.refusals import Refusals
from proxy.server.server import Server


def contexts(config: Config) -> dict[str, ssl.SSLContext | None]:
    """Return the TLS context of each listener, None without TLS. Raises ``ConfigError``."""
    return {
        listener.name: server_context(listener.callers, listener.path)
        for listener in config.listener_configs
    }


class Listener:
    """One listener. A reload replaces its ``forwarder``."""

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
        """Start to listen; return the address. Raises ``ConfigError``."""
        return await self.port.open(self.tls, int(self.listener_config.callers.socket_mode, 8))

    def restart_errors(self, listener_config: ListenerConfig) -> list[str]:
        """Return errors for changes that need a restart."""
        path, before, after = (
            listener_config.path,
            self.listener_config.callers,
            listener_config.callers,
        )
        errors = []
        if listener_config.address != self.listener_config.address:
            errors.append(f"{path}listen: changed; restart the proxy to apply it")
        if (after.certificate_file is None) != (self.tls is None):
            errors.append(
                f"{path}callers.certificate_file: restart the proxy to turn TLS on or off"
            )
        file, file_before = (
            None if one.login is None else one.login.refresh_token_file
            for one in (listener_config, self.listener_config)
        )
        if file != file_before:
            errors.append(f"{path}refresh_token_file: changed; restart the proxy to apply it")
        if after.socket_mode != before.socket_mode:
            errors.append(f"{path}callers.socket_mode: changed; restart the proxy to apply it")
        return errors

    def _handle(self, request: Request) -> Awaitable[Response]:
        return self.forwarder.handle(request)

    def _refuse_plain_http(self, caller: Caller) -> bytes:
        return self._refuse(CallerError(kinds.HTTP_ON_TLS), caller).data

    def _refuse(self, error: ProxyError, caller: Caller) -> Response:
        return self.forwarder.refuse(error, caller)


class Listeners:
    """All listeners. ``addresses`` are known once they are open (port 0 is allowed)."""

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
        """Number of callers' open connections."""
        return sum(listener.server.connection_count for listener in self._listeners.values())

    def refused_connections(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Yield the number of connections closed because of a limit, by listener and reason."""
        for name, listener in self._listeners.items():
            for reason, count in listener.refusals.counts.items():
                yield (name, reason), count

    @property
    def count(self) -> int:
        """Number of listeners; the limits on callers apply to each."""
        return len(self._listeners)

    async def open(self) -> None:
        """Open all listeners, or none. Raises ``ConfigError`` for a port in use."""
        try:
            for name, listener in self._listeners.items():
                self.addresses[name] = await listener.open()
        except ConfigError:
            self.close()
            raise

    def restart_errors(self, config: Config) -> list[str]:
        """Return errors for changes that need a restart."""
        listeners = {listener.name: listener for listener in config.listener_configs}
        errors = [
            f"listeners.{name}: added or removed; restart the proxy to apply it"
            for name in sorted(listeners.keys() ^ self._listeners.keys())
        ]
        for name, listener in self._listeners.items():
            errors += listener.restart_errors(listeners[name]) if name in listeners else ()
        return errors

    def replace_certificates(self, contexts: Mapping[str, ssl.SSLContext | None]) -> None:
        """Use these certificates for new connections."""
        for name, context in contexts.items():
            if context is not None:
                self._listeners[name].port.replace_tls(context)

    def switch_to(self, config: Config, forwarders: Mapping[str, Forwarder]) -> None:
        """Send new requests to the forwarders of another core."""
        for listener in config.listener_configs:
            self._listeners[listener.name].listener_config = listener
            self._listeners[listener.name].forwarder = forwarders[listener.name]

    def close(self) -> None:
        """Stop listening; close idle connections now, the others after their response."""
        for listener in self._listeners.values():
            listener.port.close()
            listener.server.close()

    async def wait_closed(self) -> None:
        """Wait until all connections are closed."""
        for listener in self._listeners.values():
            await listener.server.wait_closed()

    async def abort(self) -> None:
        """Close every connection now."""
        for listener in self._listeners.values():
            await listener.server.abort()
