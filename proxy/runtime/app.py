"""The composition root: the ports, the core behind them, and their life from start to stop."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from proxy.admin import admin_server as admin
from proxy.admin import health, status
from proxy.admin.document import Load, Status
from proxy.admin.health import Condition
from proxy.admin.history import History
from proxy.admin.page_access import PageAccess
from proxy.admin.readiness import Readiness, assess
from proxy.admin.status_page import StatusPage
from proxy.config.loosened import loosened
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.forwarding.authentication import CallerAuthentication
from proxy.forwarding.forwarder import Forwarder
from proxy.forwarding.record import MAIN_LISTENER
from proxy.runtime import build, certificate_expiry, clock, reload
from proxy.runtime.about import about, listeners
from proxy.runtime.core import Core
from proxy.runtime.listeners import Listeners, contexts
from proxy.runtime.metric_sources import register as register_metric_sources
from proxy.runtime.reload import LoadConfig, Reloader, watch
from proxy.runtime.systemd import Systemd
from proxy.server.address import Address
from proxy.server.memory import MemoryBudget
from proxy.server.messages import RequestHandler
from proxy.server.refusals import Refusals
from proxy.tasks import Tasks
from proxy.telemetry.logs import LogObserver
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.observers import Observer, Observers
from proxy.tokens.cache import TokenCache
from proxy.tokens.credentials import Logins
from proxy.upstream.pool import Pool
from proxy.upstream.resolver import Resolver
from proxy.upstream.tls import UpstreamTls

_RESTART_ONLY = (
    "admin",
    "admin_actions",
    "status_page",
    "allowed_hosts",
    "refresh_token_file",
    "reload_interval",
    "log",
    "tracing",
    "metrics",
    "limits",
)


class App:
    """The whole proxy, within a running event loop.

    ``addresses`` and ``admin_address`` are known once it has started (port 0 is allowed). With
    ``load``, changed files are reloaded; ``file`` is the configuration's. ``quit`` is set when an
    admin action requests the shutdown.
    """

    def __init__(
        self,
        config: Config,
        logins: Logins,
        load: LoadConfig | None = None,
        file: Path | None = None,
    ) -> None:
        self._config = config
        self._draining = False
        self.quit = asyncio.Event()
        self.metrics = Metrics()
        self._started = clock.now()
        self._history = History(self.metrics.totals, clock.now)
        self._refresh_tokens = build.refresh_tokens(config)
        self._tracing = build.tracing(config, lambda: self._core.config.url)
        self._push = build.metrics_push(config, self.metrics)
        self._log = LogObserver(config.log)
        observers: list[Observer] = [self.metrics, self._log, self._history]
        if self._tracing is not None:
            observers.append(self._tracing)
        self._observers = Observers(observers)
        self._resolver = Resolver(self._observers.event)
        self._core = self._new_core(config, logins)
        self._retired: set[Core] = set()
        wrap_handler = _unwrapped if self._tracing is None else self._tracing.wrap
        self._memory = MemoryBudget(config.limits.max_memory)
        self._listeners = Listeners(
            config, self._core.forwarders, wrap_handler, self._observers.warn, self._memory
        )
        self._admin_refusals = Refusals(self._observers.warn, " of the admin port")
        self._reloader = Reloader(
            load or (lambda: (config, logins)),
            self._apply,
            config.files(),
            extra_files=[file] if file else [],
            emit=self._observers.event,
            interval=config.reload_interval if load else 0,
            changes_logins=lambda logins: logins != self._core.logins,
        )
        self._systemd = Systemd()
        self._tasks = Tasks("app")
        self._stack = AsyncExitStack()
        self._opened_before: Counter[str] = Counter()
        register_metric_sources(
            self.metrics,
            self._listeners,
            self._cores,
            admin_refusals=self._admin_refusals,
            memory=self._memory,
            opened_before=lambda: self._opened_before,
            is_ready=lambda: self.readiness().is_ready,
            dropped_lines=lambda: self._log.dropped,
            condition=lambda: self.conditions()[0],
        )
        self.metrics.reloads.certificates = certificate_expiry.expiries(
            build.certificate_files(config)
        )

    @property
    def tokens(self) -> TokenCache:
        """The token cache in use."""
        return self._core.tokens

    @property
    def pool(self) -> Pool:
        """The connection pool in use."""
        return self._core.pool

    @property
    def forwarder(self) -> Forwarder:
        """The forwarder of the main listener."""
        return self._core.forwarder

    @property
    def addresses(self) -> Mapping[str, Address]:
        """The bound addresses by the listener's name."""
        return self._listeners.addresses

    @property
    def data_address(self) -> Address:
        """The bound address of the main listener."""
        return self._listeners.addresses[MAIN_LISTENER]

    @property
    def connection_count(self) -> int:
        """Number of callers' open connections."""
        return self._listeners.connection_count

    async def start(self) -> None:
        """Open all ports and start to fetch tokens.

        Raises ``ConfigError`` for a port in use, and then leaves nothing open.
        """
        self.admin_address = await self._start_admin()
        try:
            await self._listeners.open()
        except ConfigError:
            await self._stack.aclose()
            raise
        self._core.start()
        self._tasks.spawn_background("reloader", self._reloader.run())
        interval = self._config.reload_interval
        for _, file in self._config.refresh_token_files() if interval else ():
            self._tasks.spawn_background("logins", watch(file, min(interval, 1.0), self._on_login))
        if self._push is not None:
            self._tasks.spawn_background("metrics", self._push.run())
        self._tasks.spawn_background("lag", self.metrics.lag.run())
        self._tasks.spawn_background("history", self._history.run())
        self._tasks.spawn_background("watchdog", self._systemd.keep_alive())
        self._systemd.notify("READY=1", f"STATUS=Forwarding to {self._config.url.geturl()}")

    def readiness(self) -> Readiness:
        """Return whether the proxy is ready, with the reasons if it is not."""
        return assess(self._core.entries(), clock.now(), draining=self._draining)

    def conditions(self) -> Sequence[Condition]:
        """Return what there is to say about the health, the worst first; at least one."""
        return health.assess(
            status.health_input(
                self._core.entries(),
                self._history,
                clock.now(),
                draining=self._draining,
                reload_failure=self._reloader.failure,
            )
        )

    def status(self) -> Status:
        """Return the document of the status page."""
        config, now = self._config, clock.now()
        return status.build(
            status.StatusInput(
                now=now,
                about=about(config, self._started, now),
                listeners=listeners(config, self.addresses, self.admin_address),
                readiness=self.readiness(),
                conditions=self.conditions(),
                entries=[*self._core.entries()],
                institutions=config.permitted_institutions,
                load=Load(
                    in_flight=self._core.in_flight,
                    caller_connections=self.connection_count,
                    upstream_connections=sum(one.pool.open_count for one in self._core.origins),
                    upstream_idle=sum(one.pool.idle_count for one in self._core.origins),
                ),
            ),
            self._history,
        )

    async def reload(self, why: str) -> bool:
        """Reload configuration and secrets; return whether it succeeded."""
        return await self._reloader.reload(why)

    def reopen_log(self) -> None:
        """Open the file of requests' lines anew, after it was renamed."""
        self._log.reopen()

    async def stop(self) -> None:
        """Stop in order: not ready, delay, stop listening, finish requests, revoke, close.

        Requests that still run after the grace period are aborted.
        """
        self._draining = True
        self._systemd.notify("STOPPING=1")
        await asyncio.sleep(self._config.drain_delay)
        self._listeners.close()
        await self._wait_idle(self._config.grace_period)
        await self._listeners.abort()
        if self._config.revoke_on_shutdown:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.token.timeout):
                    await self._core.revoke_all()
        await self._tasks.cancel()
        await self._core.close()
        if self._push is not None:
            await self._push.close()
        if self._tracing is not None:
            await self._tracing.close()
        await self._stack.aclose()
        self._log.close()

    async def _wait_idle(self, grace: float) -> None:
        """Wait for the requests in flight, including those of retired cores."""
        cores = self._cores()
        for core in cores:
            core.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(core.wait_idle() for core in cores))
                # Responses have been delivered when their connections are closed.
                await self._listeners.wait_closed()

    async def _apply(self, config: Config, logins: Logins) -> None:
        """Replace the running core with one of another configuration, after verifying it."""
        errors = [
            f"{name}: changed; restart the proxy to apply it"
            for name in _RESTART_ONLY
            if getattr(config, name) != getattr(self._config, name)
        ]
        errors += self._listeners.restart_errors(config)
        if errors:
            raise ConfigError(errors)
        upstream_tls, tls, expiries = await reload.read(lambda: _read_files(config))
        successor = self._new_core(config, logins, upstream_tls)
        try:
            await successor.verify(self._core)
            self._check_running()
            self._listeners.replace_certificates(tls)
        except BaseException:
            await successor.close()
            raise
        for change in loosened(self._config, config):
            self._observers.warn(f"the reloaded configuration permits more: {change}")
        predecessor, self._core, self._config = self._core, successor, config
        self._listeners.switch_to(config, successor.forwarders)
        successor.start()
        self.metrics.reloads.certificates = expiries
        self._retired.add(predecessor)  # before any await, so that a shutdown waits for it too
        self._tasks.spawn_background("retire", self._retire(predecessor))

    def _on_login(self) -> None:
        """Fetch tokens for logins made by another process, even after earlier refusals."""
        keys = self._refresh_tokens.updated_keys()
        for origin in self._core.origins:
            origin.tokens.clear_failures(keys)

    def _check_running(self) -> None:
        if self._draining:
            raise ConfigError(["the proxy is shutting down"])

    async def _retire(self, core: Core) -> None:
        """Let a replaced core finish its requests, without a time limit."""
        try:
            await core.wait_idle()
        finally:
            self._retired.discard(core)
            for origin in core.origins:
                self._opened_before[origin.config.base_url] += origin.pool.opened_count
            await core.close()

    async def _start_admin(self) -> Address:
        config = self._config
        actions = None
        if config.admin_actions:
            actions = admin.Actions(lambda: self.reload("admin"), self.quit.set)
        address, status_page = config.admin, config.status_page
        is_open = address.is_loopback or status_page == "on"
        access = None if status_page == "off" else PageAccess(str(address), address.host, is_open)
        page = StatusPage(self.status, access)
        routes = admin.routes(
            self.readiness,
            self.conditions,
            self.metrics.families,
            actions,
            page,
            lambda: [*self._listeners.addresses.values()],
        )
        handler = admin.AdminHandler(routes, build.admin_policy(config), self._observers.crash)
        return await admin.serve(
            handler, config.admin, self._admin_refusals, self._memory, self._stack
        )

    def _new_core(
        self, config: Config, logins: Logins, upstream_tls: Sequence[UpstreamTls] = ()
    ) -> Core:
        return Core(
            config, logins, self._observers, self._refresh_tokens, self._resolver, upstream_tls
        )

    def _cores(self) -> Sequence[Core]:
        """Return the running core, then the retired ones."""
        return (self._core, *self._retired)


def _unwrapped(handle: RequestHandler) -> RequestHandler:
    return handle


def _read_files(
    config: Config,
) -> tuple[Sequence[UpstreamTls], dict[str, ssl.SSLContext | None], Mapping[str, float]]:
    """Read every file that a new core needs, in a thread: a share may hang, contexts take 60 ms.

    Return the TLS to the bank, that of each listener, and when certificates expire. Raises
    ``ConfigError``.
    """
    for listener in config.listener_configs:
        CallerAuthentication.load(listener.callers, listener.path)
    for origin in config.origins:
        build.outbound_proxy(origin)
    build.check_store(config)
    return (
        [build.upstream_tls(origin) for origin in config.origins],
        contexts(config),
        certificate_expiry.expiries(build.certificate_files(config)),
    )
