"""Everything between the listening port and the bank, built from one configuration.

A reload builds a second core, verifies it, and replaces the running one with it. So a core never
changes during a request.
"""

import asyncio
import random
from collections.abc import Iterator

from proxy.config.listener_settings import ListenerConfig
from proxy.config.model import Config
from proxy.errors import TokenError
from proxy.forwarding.authentication import CallerAuthentication
from proxy.forwarding.business_users import BusinessUserDirectory
from proxy.forwarding.forwarder import Forwarder
from proxy.forwarding.record import MAIN_LISTENER
from proxy.forwarding.response import ResponseWriter
from proxy.forwarding.routing import Router
from proxy.forwarding.transaction_ids import new_transaction_id
from proxy.runtime import build, clock
from proxy.tasks import Tasks
from proxy.telemetry.observers import Observers
from proxy.tokens.cache import TokenCache
from proxy.tokens.credentials import Logins
from proxy.tokens.events import Trigger
from proxy.tokens.grants import Login
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.refresher import Refresher
from proxy.tokens.static import StaticTokenSource
from proxy.tokens.token import Token, TokenKey, TokenSource
from proxy.upstream.dialer import UpstreamOrigin
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
        upstream_tls: UpstreamTls | None = None,
    ) -> None:
        self.config = config
        self.logins = logins
        self._warn = observers.warn
        self._tls = upstream_tls or UpstreamTls.load(
            config.upstream, https=config.url.scheme == "https"
        )
        dialer = build.dialer(config, self._tls.context, resolver, observers.event)
        origin = dialer.origin
        self._proxy = origin.proxy
        self._bank = build.bank_client(config, dialer)
        self._endpoint = build.endpoint(config, logins, self._bank, refresh_tokens, observers.warn)
        self.fleet = build.fleet(config, logins, self._endpoint, observers.event)
        self.tokens = TokenCache(
            self._source(),
            config.token,
            clock=clock.now,
            chance=random.random,
            emit=observers.event,
            can_replace=config.bearer_token is None,
        )
        self._follower = self.fleet.follower(self.tokens) if self.fleet is not None else None
        self._refresher = Refresher(
            self.tokens, config.token, clock=clock.now, idle=config.token.idle
        )
        self.pool = Pool(dialer, config.upstream, listeners=len(config.listener_configs))
        directory = build.directory(config, self._bank, self.tokens)
        self.forwarders = {
            listener.name: self._forwarder(listener, origin, directory, observers)
            for listener in config.listener_configs
        }
        self._tasks = Tasks("core")

    @property
    def forwarder(self) -> Forwarder:
        """The forwarder of the main listener."""
        return self.forwarders[MAIN_LISTENER]

    @property
    def in_flight(self) -> int:
        """Number of requests being served."""
        return sum(forwarder.in_flight for forwarder in self.forwarders.values())

    def _forwarder(
        self,
        listener: ListenerConfig,
        origin: UpstreamOrigin,
        directory: BusinessUserDirectory,
        observers: Observers,
    ) -> Forwarder:
        config, options = self.config, build.forwarding(self.config, listener, origin)
        return Forwarder(
            options,
            Router(
                config.url.path,
                config.rules,
                build.policy(listener.access),
                config.relaxed_query_chars,
            ),
            self.tokens,
            self.pool,
            ResponseWriter(options.url_rewriter, rewrites_links=listener.rewrite_links),
            user_injector=build.users(config, listener, directory),
            authentication=CallerAuthentication.load(listener.callers, listener.path),
            new_id=new_transaction_id,
            on_finished=observers.request,
            on_crash=observers.crash,
        )

    def start(self) -> None:
        """Start to fetch and refresh tokens."""
        for institution in dict.fromkeys(
            listener.institution for listener in self.config.listener_configs
        ):
            for kind in self.config.token.prefetch:
                self.tokens.pin(TokenKey(kind, institution))
        self._tasks.spawn_background("refresher", self._refresher.run())
        if self._follower is not None:
            self._tasks.spawn_background("follower", self._follower.run())

    async def verify(self, running: "Core") -> None:
        """Fetch a token with every login that differs from the running core's.

        The tokens are kept, and the running core's tokens of unchanged logins are copied, with
        their last use and failures. Raises ``TokenError`` if the bank refuses one.
        """
        for institution, login in self._logins_by_institution():
            key = TokenKey(self.config.token.prefetch[0], institution)
            if self.identity(key) == running.identity(key):
                continue
            if self.config.bearer_token is None and login.grant.can_be_verified:
                started = clock.now()
                token = await self._verify_credentials(key)
                self.tokens.record_refresh(token, clock.now().since(started), Trigger.RELOAD)
        for entry in running.tokens.entries():
            if self._may_use_tokens_of(running, entry.key):
                self.tokens.adopt(entry, keeps_failures=self._asks_as(running, entry.key))

    async def _verify_credentials(self, key: TokenKey) -> Token:
        """Fetch a token with a key's login, or from the store if another proxy has verified it."""
        if self.fleet is not None and self.fleet.shares(key):
            return await self.fleet.tokens.token(key)
        return await self._endpoint.verify_credentials(key)

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
        await self.tokens.close()  # so that no token arrives afterwards
        now = clock.now()
        tokens = [token for entry in self.tokens.entries() for token in entry.held.all]
        revocable = [token for token in tokens if token.is_alive(now) and self._is_revocable(token)]
        await asyncio.gather(*(self._revoke(token) for token in revocable))

    def _is_revocable(self, token: Token) -> bool:
        return self.fleet is None or not self.fleet.tokens.is_shared(token)

    async def _revoke(self, token: Token) -> None:
        try:
            await self._endpoint.revoke_token(token)
        except TokenError as error:
            self._warn(f"token of {token.key} not revoked: {error.operator_detail}")

    async def close(self) -> None:
        """End everything."""
        await self._tasks.cancel()
        self.pool.close()
        await self.tokens.close()
        if self.fleet is not None:
            await self.fleet.tokens.close()
        await self._bank.close()

    def _source(self) -> TokenSource:
        bearer = self.config.bearer_token
        if bearer is None:
            return self._endpoint if self.fleet is None else self.fleet.tokens
        self._warn(
            "bearer_token is set: the token is never refreshed and fails once it has expired; "
            "use it for a quick trial only"
        )
        return StaticTokenSource(bearer.get_secret_value(), clock.now)

    def _logins_by_institution(self) -> Iterator[tuple[str, Login]]:
        yield self.config.institution_id, self.logins.default
        yield from self.logins.by_institution.items()

    def identity(self, key: TokenKey) -> object:
        """Everything that determines which token the bank issues for ``key``."""
        has_login = key.institution in dict(self._logins_by_institution())
        login = self.logins.for_key(key) if has_login else None
        return (self.config.url, self._tls.fingerprint, self._proxy, login)

    def _asks_as(self, other: "Core", key: TokenKey) -> bool:
        """Whether the bank gets the same token call from both."""
        same_login = self.logins.for_key(key) == other.logins.for_key(key)
        return same_login and self.identity(key) == other.identity(key)

    def _may_use_tokens_of(self, other: "Core", key: TokenKey) -> bool:
        own_login, other_login = self.logins.for_key(key), other.logins.for_key(key)
        return (
            self.config.url == other.config.url
            and key.institution in self.config.permitted_institutions
            and own_login.subject == other_login.subject
        )
