"""Everything between the listening port and the bank, built from one configuration.

A reload builds a second core, verifies it, and replaces the running one with it. So a core never
changes during a request.
"""

import asyncio
from collections.abc import Iterator, Sequence

from proxy.config.listener_settings import ListenerConfig
from proxy.config.model import Config
from proxy.errors import TokenError
from proxy.forwarding.authentication import CallerAuthentication
from proxy.forwarding.forwarder import Forwarder
from proxy.forwarding.record import MAIN_LISTENER
from proxy.forwarding.response import ResponseWriter
from proxy.forwarding.transaction_ids import new_transaction_id
from proxy.runtime import build, clock
from proxy.runtime.origin import Origin
from proxy.tasks import Tasks
from proxy.telemetry.observers import Observers
from proxy.tokens.cache import Entry, TokenCache
from proxy.tokens.credentials import Logins
from proxy.tokens.events import Trigger
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import Token, TokenKey
from proxy.upstream.pool import Pool
from proxy.upstream.resolver import Resolver
from proxy.upstream.tls import UpstreamTls


class Core:
    """Forwarding and tokens of one configuration, within a running event loop.

    Raises ``ConfigError`` for certificates that cannot be used. ``refresh_tokens`` outlive a core,
    because each is good once and cannot be obtained again; ``resolver`` too, so that a reload needs
    no DNS. ``upstream_tls`` is loaded here unless it is given.
    """

    def __init__(
        self,
        config: Config,
        logins: Logins,
        observers: Observers,
        refresh_tokens: RefreshTokens,
        resolver: Resolver,
        upstream_tls: Sequence[UpstreamTls] = (),
    ) -> None:
        self.config = config
        self.logins = logins
        self._warn = observers.warn
        self.fleet = build.fleet(config, logins, observers.event)
        tls = upstream_tls or [build.upstream_tls(origin) for origin in config.origins]
        self.origins = [
            Origin(
                origin,
                config,
                logins,
                observers,
                refresh_tokens,
                resolver,
                tls=own,
                fleet=self.fleet,
            )
            for origin, own in zip(config.origins, tls, strict=True)
        ]
        if config.bearer_token is not None:
            self._warn(
                "bearer_token is set: the token is never refreshed and fails once it has expired; "
                "use it for a quick trial only"
            )
        self.forwarders = {
            listener.name: self._forwarder(listener, observers)
            for listener in config.listener_configs
        }
        self._tasks = Tasks("core")

    def origin_of(self, institution: str) -> Origin:
        """Return the origin of an institution."""
        config = self.config.origin_of(institution)
        return next(origin for origin in self.origins if origin.config == config)

    @property
    def tokens(self) -> TokenCache:
        """The tokens of the configuration's own base URL."""
        return self.origins[0].tokens

    @property
    def pool(self) -> Pool:
        """The connections to the configuration's own base URL."""
        return self.origins[0].pool

    def entries(self) -> Iterator[Entry]:
        """Iterate over the tokens of every origin."""
        for origin in self.origins:
            yield from origin.tokens.entries()

    @property
    def forwarder(self) -> Forwarder:
        """The forwarder of the main listener."""
        return self.forwarders[MAIN_LISTENER]

    @property
    def in_flight(self) -> int:
        """Number of requests being served."""
        return sum(forwarder.in_flight for forwarder in self.forwarders.values())

    def _forwarder(self, listener: ListenerConfig, observers: Observers) -> Forwarder:
        upstreams = {
            institution: upstream
            for origin in self.origins
            if (upstream := origin.upstream(listener)) is not None
            for institution in upstream.institutions
        }
        return Forwarder(
            build.forwarding(self.config, listener),
            upstreams,
            ResponseWriter(rewrites_links=listener.rewrite_links),
            authentication=CallerAuthentication.load(listener.callers, listener.path),
            new_id=new_transaction_id,
            on_finished=observers.request,
            on_crash=observers.crash,
        )

    def start(self) -> None:
        """Start to fetch and refresh tokens."""
        for listener in self.config.listener_configs:
            for kind in self.config.token.prefetch:
                key = build.token_key(self.config, kind, listener.institution, listener)
                self.origin_of(key.institution).tokens.pin(key)
        for origin in self.origins:
            self._tasks.spawn_background("refresher", origin.refresher.run())
            if origin.follower is not None:
                self._tasks.spawn_background("follower", origin.follower.run())

    async def verify(self, running: "Core") -> None:
        """Fetch a token with every login that differs from the running core's.

        The tokens are kept, and the running core's tokens of unchanged logins are copied, with
        their last use and failures. Raises ``TokenError`` if the bank refuses one.
        """
        for key in build.keys_with_login(self.config, self.config.token.prefetch[0]):
            if self.identity(key) == running.identity(key):
                continue
            login = self.logins.for_key(key)
            if self.config.bearer_token is None and login.grant.can_be_verified:
                started, origin = clock.now(), self.origin_of(key.institution)
                token = await origin.fetch_verified(key)
                origin.tokens.record_refresh(token, clock.now().since(started), Trigger.RELOAD)
        for entry in running.entries():
            if self._may_use_tokens_of(running, entry.key):
                tokens = self.origin_of(entry.key.institution).tokens
                tokens.adopt(entry, keeps_failures=self._asks_as(running, entry.key))

    def drain(self) -> None:
        """Close each caller's connection after its next response."""
        for forwarder in self.forwarders.values():
            forwarder.drain()

    async def wait_idle(self) -> None:
        """Stop refreshing, and wait for the requests in flight."""
        await self._tasks.cancel()
        for forwarder in self.forwarders.values():
            await forwarder.wait_idle()

    async def revoke_all(self) -> None:
        """Revoke every revocable token; warn of failures."""
        for origin in self.origins:
            await origin.tokens.close()  # so that no token arrives afterwards
        now = clock.now()
        await asyncio.gather(
            *(
                self._revoke(origin, token)
                for origin in self.origins
                for entry in origin.tokens.entries()
                for token in entry.held.all
                if token.is_alive(now) and not origin.is_shared(token)
            )
        )

    async def _revoke(self, origin: Origin, token: Token) -> None:
        try:
            await origin.endpoint.revoke_token(token)
        except TokenError as error:
            self._warn(f"token of {token.key} not revoked: {error.operator_detail}")

    async def close(self) -> None:
        """End everything."""
        await self._tasks.cancel()
        for origin in self.origins:
            await origin.close()
        if self.fleet is not None:
            await self.fleet.close()

    def identity(self, key: TokenKey) -> object:
        """Everything that determines which token the bank issues for ``key``."""
        has_login = key in build.keys_with_login(self.config, key.kind)
        login = self.logins.for_key(key) if has_login else None
        return (self.origin_of(key.institution).identity, login)

    def _asks_as(self, other: "Core", key: TokenKey) -> bool:
        """Whether the bank gets the same token call from both."""
        same_login = self.logins.for_key(key) == other.logins.for_key(key)
        return same_login and self.identity(key) == other.identity(key)

    def _may_use_tokens_of(self, other: "Core", key: TokenKey) -> bool:
        if key.institution not in self.config.permitted_institutions:
            return False
        if key.subject and key not in build.keys_with_login(self.config, key.kind):
            return False
        own, others = (core.config.origin_of(key.institution) for core in (self, other))
        own_login, other_login = self.logins.for_key(key), other.logins.for_key(key)
        return (
            own.name == key.origin
            and own.base_url == others.base_url
            and own_login.subject == other_login.subject
        )
