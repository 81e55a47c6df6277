"""The composition root: builds every part from the configuration; starts, drains, stops them."""

import asyncio
import random
from contextlib import AsyncExitStack, suppress

from aiohttp import web

from proxy import clock, parts
from proxy.admin import server as admin
from proxy.admin.readiness import Readiness, assess
from proxy.bank_client import BankClient
from proxy.config import Address, Config
from proxy.credentials import Logins
from proxy.errors import ConfigError, TokenError
from proxy.facts import Fact, RequestRecord
from proxy.forwarder import Forwarder, Forwarding
from proxy.ids import new_transaction_id
from proxy.logs import FactLog
from proxy.metrics import Metrics
from proxy.relay import Relay
from proxy.routing import Router
from proxy.server import Server
from proxy.tasks import Tasks
from proxy.tokens.cache import TokenCache
from proxy.tokens.fixed import FixedBearer
from proxy.tokens.refresher import Refresher
from proxy.tokens.token import TokenKey, TokenKind, TokenSource
from proxy.upstream import Origin, Pool
from proxy.upstream.tls import client_context


class App:
    """The whole proxy, within a running event loop.

    ``data_address`` and ``admin_address`` are known once it has started (port 0 is allowed).
    """

    def __init__(self, config: Config, logins: Logins) -> None:
        url = config.url
        tls = client_context(config.upstream.ca_file) if url.scheme == "https" else None
        origin = Origin(str(url.hostname), url.port or (443 if tls else 80), tls)
        self._config = config
        self._draining = False
        self.metrics = Metrics()
        self._log = FactLog(config.log)
        self._bank = BankClient(url.geturl(), timeout=config.token.timeout, tls=tls)
        self._endpoint = parts.endpoint(config, logins, self._bank, self._log.warn)
        self.tokens = TokenCache(
            self._token_source(),
            parts.refresh_policy(config),
            clock=clock.now,
            chance=random.random,
            emit=self._fact,
        )
        self._refresher = Refresher(self.tokens, clock=clock.now, idle=config.token.idle)
        self.pool = Pool(origin, parts.limits(config), parts.deadlines(config))
        self._relay = Relay(
            f"{url.scheme}://{url.netloc}".encode("ascii"), url.path.encode("ascii")
        )
        self.forwarder = Forwarder(
            Forwarding(
                institution=config.institution_id,
                allowed=config.allowed,
                host=origin.host_header,
                correlation_id=config.headers.correlation_id,
                deadlines=parts.deadlines(config),
            ),
            Router(url.path, config.rules, parts.policy(config)),
            self.tokens,
            self.pool,
            self._relay,
            users=parts.users(config, self._bank),
            new_id=new_transaction_id,
            finished=self._request,
            crashed=self._log.crash,
        )
        self._server = Server(self.forwarder.handle, self.forwarder.refuse)
        self._tasks = Tasks("app")
        self._stack = AsyncExitStack()
        self._watch()

    async def start(self) -> None:
        """Open both ports and begin to get tokens.

        Raises ``ConfigError`` for a port in use, and then leaves nothing open.
        """
        self.admin_address = await self._start_admin()
        try:
            self._listener = await self._listen()
        except ConfigError:
            await self._stack.aclose()
            raise
        self.data_address = bound(self._listener)
        self.tokens.pin(TokenKey(TokenKind.V2, self._config.institution_id))
        self._tasks.keep("refresher", self._refresher.run())

    def readiness(self) -> Readiness:
        """Return whether requests would be served, and if not, why."""
        return assess(self.tokens.entries(), clock.now(), draining=self._draining)

    async def stop(self) -> None:
        """Refuse new work, finish what runs within the grace period, then end everything."""
        self._draining = self._relay.draining = True
        self._listener.close()
        self._server.pre_shutdown()
        await self._finish_requests()
        await self._server.shutdown(timeout=0.1)
        await self._tasks.cancel()
        if self._config.revoke_on_shutdown:
            await self._revoke_all()
        self.pool.close()
        await self.tokens.close()
        await self._bank.close()
        await self._stack.aclose()

    async def _finish_requests(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._config.grace_period
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self.forwarder.idle()

    async def _listen(self) -> asyncio.Server:
        address = self._config.listen
        try:
            return await asyncio.get_running_loop().create_server(
                self._server, address.host, address.port, backlog=1024
            )
        except OSError as error:
            raise cannot_listen("listen", address, error) from error

    async def _start_admin(self) -> Address:
        address = self._config.admin
        runner = web.AppRunner(
            admin.build(self.readiness, self.metrics.exposition),
            access_log=None,
            handle_signals=False,
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, address.host, address.port, shutdown_timeout=1)
        try:
            await site.start()
        except OSError as error:
            await self._stack.aclose()
            raise cannot_listen("admin", address, error) from error
        host, port = runner.addresses[0][:2]
        return Address(host=host, port=port)

    def _token_source(self) -> TokenSource:
        bearer = self._config.bearer_token
        if bearer is None:
            return self._endpoint
        self._log.warn(
            "bearer_token is set: this one token is sent until it dies and never refreshed; "
            "for a quick trial only"
        )
        return FixedBearer(bearer.get_secret_value(), clock.now)

    async def _revoke_all(self) -> None:
        """Revoke what the bank lets us revoke, within a grace period of its own."""
        now = clock.now()
        for entry in self.tokens.entries():
            if entry.token is None or not entry.token.is_alive(now):
                continue
            try:
                await self._endpoint.revoke_token(entry.token)
            except TokenError as error:
                self._log.warn(f"token of {entry.key} not revoked: {error.detail}")

    def _watch(self) -> None:
        watch = self.metrics.watch
        watch("requests_in_flight", "Requests being served.", lambda: self.forwarder.in_flight)
        watch("upstream_connections", "Open connections to the bank.", lambda: self.pool.open)
        watch("upstream_connections_idle", "Those of them unused.", lambda: self.pool.idle)
        watch("ready", "1 when /readyz says ready.", lambda: float(self.readiness().is_ready))

    def _fact(self, fact: Fact) -> None:
        self.metrics.fact(fact)
        self._log.fact(fact)

    def _request(self, record: RequestRecord) -> None:
        self.metrics.request(record)
        self._log.request(record)


def bound(listener: asyncio.Server) -> Address:
    """Return where a server listens, with the port that the system chose."""
    host, port = listener.sockets[0].getsockname()[:2]
    return Address(host=host, port=port)


def cannot_listen(setting: str, address: Address, error: OSError) -> ConfigError:
    """Return what to say of a port that cannot be had."""
    why = error.strerror or str(error)
    return ConfigError(
        [f"{setting}: cannot listen on {address} ({why}); choose another with --{setting}"]
    )
