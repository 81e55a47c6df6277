"""What each address of the bank has of its own, so that a failure of one leaves the others alone.

::

    dialer  →  pool (requests)
            →  bank client  →  endpoint  →  (fleet store)  →  token cache, with its refresher
"""

import random
from typing import TYPE_CHECKING

from proxy.config.listener_settings import ListenerConfig
from proxy.config.model import Config
from proxy.config.origin_config import OriginConfig
from proxy.forwarding.upstream import Upstream
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.runtime import build, clock
from proxy.telemetry.observers import Observers
from proxy.tokens.cache import TokenCache
from proxy.tokens.credentials import Logins
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.refresher import Refresher
from proxy.tokens.static import StaticTokenSource
from proxy.tokens.token import Token, TokenKey, TokenSource
from proxy.upstream.pool import Pool
from proxy.upstream.resolver import Resolver
from proxy.upstream.tls import UpstreamTls

if TYPE_CHECKING:
    from proxy.runtime.build_fleet import Fleet


class Origin:
    """Connections and tokens of one origin. Raises ``ConfigError`` for files it cannot use."""

    def __init__(
        self,
        origin: OriginConfig,
        config: Config,
        logins: Logins,
        observers: Observers,
        refresh_tokens: RefreshTokens,
        resolver: Resolver,
        *,
        tls: UpstreamTls,
        fleet: "Fleet | None",
    ) -> None:
        self.config = origin
        self._whole = config
        self._tls = tls
        dialer = build.dialer(origin, self._tls.context, resolver, observers.event)
        self._dialed = dialer.origin
        # Listeners that never call this origin need no share of its connections.
        self._listeners = [
            listener.name
            for listener in config.listener_configs
            if any(config.origin_of(one) == origin for one in listener.permitted_institutions)
        ]
        self.pool = Pool(dialer, origin.upstream, listeners=max(len(self._listeners), 1))
        self._bank = build.bank_client(config, origin, dialer)
        self.endpoint = build.endpoint(
            config, logins, self._bank, refresh_tokens, observers.warn, origin.name
        )
        self._shared = None if fleet is None else fleet.share(self.endpoint)
        self.tokens = TokenCache(
            self._source(),
            config.token,
            clock=clock.now,
            chance=random.random,
            emit=observers.event,
            can_replace=config.bearer_token is None,
        )
        self.refresher = Refresher(
            self.tokens, config.token, clock=clock.now, idle=config.token.idle
        )
        self.follower = None
        if fleet is not None and self._shared is not None:
            self.follower = fleet.follower(self._shared, self.tokens)
        self._directory = build.directory(config, self._bank, self.tokens)

    def _source(self) -> TokenSource:
        bearer = self._whole.bearer_token
        if bearer is not None:
            return StaticTokenSource(bearer.get_secret_value(), clock.now)
        return self._shared or self.endpoint

    def upstream(self, listener: ListenerConfig) -> Upstream | None:
        """Return the way of a listener's requests to this origin; None if it has no such."""
        config, origin = self._whole, self.config
        if listener.name not in self._listeners:
            return None
        subjects = {
            institution: listener.subject_of(institution)
            for institution in listener.permitted_institutions
            if config.origin_of(institution) == origin
        }
        return Upstream(
            origin.name,
            subjects,
            host=self._dialed.host_header,
            router=build.router(config, origin, listener),
            tokens=self.tokens,
            pool=self.pool,
            share=self.pool.shares[self._listeners.index(listener.name)],
            url_rewriter=UrlRewriter(origin.url, listener.public_url),
            user_injector=build.users(config, listener, self._directory),
            settings=origin.upstream,
        )

    @property
    def identity(self) -> object:
        """Everything about the way to the bank that determines which token it issues."""
        return (self.config.base_url, self._tls.fingerprint, self._dialed.proxy)

    async def fetch_verified(self, key: TokenKey) -> Token:
        """Fetch a token with a key's login, or from the store if another proxy has verified it.

        Raises ``TokenError``.
        """
        if self._shared is not None and self._shared.shares(key):
            return await self._shared.token(key)
        return await self.endpoint.verify_credentials(key)

    def is_shared(self, token: Token) -> bool:
        """Whether other proxies may use this token."""
        return self._shared is not None and self._shared.is_shared(token)

    async def close(self) -> None:
        """End everything."""
        self.pool.close()
        await self.tokens.close()
        await self.endpoint.finish()
        await self._bank.close()
