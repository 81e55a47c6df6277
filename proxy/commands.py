"""What the command line does at the bank without a proxy running: login and revoke."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy import clock, parts
from proxy.config import Config
from proxy.credentials import Logins
from proxy.errors import TokenError
from proxy.tokens.endpoint import BankEndpoint
from proxy.tokens.grants import Grant
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import TokenKey, TokenKind
from proxy.upstream.tls import UpstreamTls


async def login(config: Config, logins: Logins, institution: str | None, code: str) -> int:
    """Exchange an authorization code, good once, and keep its refresh token in the file.

    A running proxy that has the same ``refresh_token_file`` takes it from there. Raises
    ``ConfigError`` when the file cannot be written.
    """
    if config.refresh_token_file is None:
        return _failed("refresh_token_file is not set, so there is nowhere to keep the login")
    key = TokenKey(TokenKind.V2, institution or config.institution_id)
    # Before the code is spent: a login that no request would use is none.
    if key.institution not in config.allowed:
        return _failed("--institution: is none that the configuration allows")
    if logins.for_key(key).grant is not Grant.AUTHORIZATION_CODE:
        return _failed(
            f"institution {key.institution} does not log in with a code; "
            "set its grant to authorization_code"
        )
    async with _endpoint(config, logins) as endpoint:
        try:
            await endpoint.exchange(key, code)
        except TokenError as error:
            return _failed(f"not logged in. {error.detail} A code is good once; ask for a new one.")
    print(f"Logged in for institution {key.institution}; kept in {config.refresh_token_file}.")
    return 0


async def revoke(config: Config, logins: Logins, institution: str | None, text: str) -> int:
    """Revoke a V2 access or refresh token; a refresh token takes its access tokens with it."""
    key = TokenKey(TokenKind.V2, institution or config.institution_id)
    async with _endpoint(config, logins) as endpoint:
        try:
            await endpoint.revoke(text, logins.for_key(key).credentials)
        except TokenError as error:
            return _failed(f"not revoked. {error.detail}")
    print("Revoked.")
    return 0


@asynccontextmanager
async def _endpoint(config: Config, logins: Logins) -> AsyncIterator[BankEndpoint]:
    tls = UpstreamTls.load(config.upstream, https=config.url.scheme == "https")
    bank = parts.bank_client(config, tls.context)
    refresh_tokens = RefreshTokens(clock.now, config.refresh_token_file)
    try:
        yield parts.endpoint(config, logins, bank, refresh_tokens, _complain)
    finally:
        await bank.close()


def _complain(text: str) -> None:
    print(f"candescent-proxy: {text}", file=sys.stderr)


def _failed(text: str) -> int:
    _complain(text)
    return 1
