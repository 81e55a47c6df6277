"""The bank's token endpoint, for commands that use it without a running proxy."""

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from proxy.config.model import Config
from proxy.runtime import build
from proxy.tokens.credentials import Logins
from proxy.tokens.endpoint import BankEndpoint
from proxy.tokens.token import TokenKey, TokenKind


def add_login_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names a login: an institution, or a listener with a login of its own."""
    login = parser.add_mutually_exclusive_group()
    login.add_argument("--institution", metavar="DIGITS", help="other than the default one")
    login.add_argument("--listener", metavar="NAME", help="listener with a login of its own")


def requested_key(
    config: Config, kind: TokenKind, institution: str | None, listener: str | None = None
) -> TokenKey:
    """Return the key of the named login. Raises ``ValueError`` with what is wrong."""
    if listener is not None:
        for one in config.listener_configs:
            if one.name == listener and one.login is not None:
                return build.token_key(config, kind, one.institution, one)
        raise ValueError("--listener: has no login of its own")
    if institution is not None and institution not in config.permitted_institutions:
        raise ValueError("--institution: is not allowed by the configuration")
    return build.token_key(config, kind, institution or config.institution_id)


@asynccontextmanager
async def endpoint(
    config: Config, logins: Logins, key: TokenKey, warn: Callable[[str], None]
) -> AsyncIterator[BankEndpoint]:
    """Yield the endpoint for a key. Raises ``ConfigError`` for files that cannot be used."""
    origin = config.origin_of(key.institution)
    tls = build.upstream_tls(origin)
    bank = build.bank_client(config, origin, build.dialer(origin, tls.context))
    refresh_tokens = build.refresh_tokens(config)
    try:
        yield build.endpoint(config, logins, bank, refresh_tokens, warn, origin.name)
    finally:
        await bank.close()
