"""One address of the bank, as the requests of one listener use it."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import final

from proxy.errors import ProxyError, kinds
from proxy.forwarding.business_users import UserContextInjector
from proxy.forwarding.retry_budget import RetryBudget
from proxy.forwarding.routing import Router
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.tokens.cache import TokenCache
from proxy.tokens.token import TokenKey, TokenKind
from proxy.upstream.pool import Pool
from proxy.upstream.pool_share import PoolShare, share_out
from proxy.upstream.upstream_settings import UpstreamSettings


@final
class Upstream:
    """Connections, tokens and URLs of one origin.

    A request gets all of them from one object, and ``token_key`` makes keys of this origin only;
    so a token is never sent to another origin. ``subjects`` are the origin's institutions, each
    with the subject of its tokens (``TokenKey``). ``requests`` counts those that were routed here,
    ``in_flight`` those being served, where there are several origins.
    """

    def __init__(
        self,
        origin: str,
        subjects: Mapping[str, str],
        *,
        host: bytes,
        router: Router,
        tokens: TokenCache,
        pool: Pool,
        share: PoolShare,
        url_rewriter: UrlRewriter,
        user_injector: UserContextInjector | None,
        settings: UpstreamSettings,
    ) -> None:
        self.origin = origin
        self._subjects = subjects
        self.host = host
        self.router = router
        self.tokens = tokens
        self.pool = pool
        self.share = share
        self.url_rewriter = url_rewriter
        self.user_injector = user_injector
        self.retry = settings.retry
        self.total_timeout = settings.total_timeout
        self.retries = RetryBudget()
        self.requests = 0
        self.in_flight = 0
        # Cached, because each request needs one and there are only as many as institutions.
        self.token_key = lru_cache(maxsize=1024)(self._make_key)

    @property
    def institutions(self) -> Collection[str]:
        """The institutions of this origin that the listener's callers may name."""
        return self._subjects.keys()

    def _make_key(self, kind: TokenKind, institution: str) -> TokenKey:
        """Return a key. Raises ``KeyError`` for an institution of another origin."""
        return TokenKey(kind, institution, self.origin, self._subjects[institution])


@final
class InFlightShares:
    """Divides ``limit`` requests in flight among ``count`` origins.

    Half of them are guaranteed, in equal parts; the others are for all, as in ``pool_share``. So an
    origin that hangs cannot take what the others need.
    """

    def __init__(self, limit: int, count: int) -> None:
        self._guaranteed = share_out(limit, count)
        self._max_common = limit - self._guaranteed * count
        self._common = 0

    def begin(self, upstream: Upstream) -> None:
        """Count a request. Raises ``ProxyError`` (503) when the origin may have no more."""
        if upstream.in_flight >= self._guaranteed:
            if self._common >= self._max_common:
                raise ProxyError(kinds.OVERLOADED)
            self._common += 1
        upstream.in_flight += 1

    def end(self, upstream: Upstream) -> None:
        """Count the end of a request."""
        upstream.in_flight -= 1
        if upstream.in_flight >= self._guaranteed:
            self._common -= 1
