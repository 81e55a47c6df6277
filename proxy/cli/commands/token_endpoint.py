"""The bank's token endpoint, for commands that use it without a running proxy."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from proxy.config.model import Config
from proxy.runtime import build, clock
from proxy.tokens.credentials import Logins
from proxy.tokens.endpoint import BankEndpoint
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.upstream.tls import UpstreamTls


@asynccontextmanager
async def endpoint(
    config: Config, logins: Logins, warn: Callable[[str], None]
) -> AsyncIterator[BankEndpoint]:
    """Yield the configured endpoint. Raises ``ConfigError`` for files that cannot be used."""
    tls = UpstreamTls.load(config.upstream, https=config.url.scheme == "https")
    bank = build.bank_client(config, build.dialer(config, tls.context))
    refresh_tokens = RefreshTokens(clock.now, config.refresh_token_file)
    try:
        yield build.endpoint(config, logins, bank, refresh_tokens, warn)
    finally:
        await bank.close()
