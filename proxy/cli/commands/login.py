"""``login``: exchanges an authorization code, and keeps the refresh token for the proxy."""

import argparse

from proxy.cli.commands import OK, token_endpoint
from proxy.cli.commands.common import (
    add_settings,
    configuration,
    report_failure,
    secret_input,
    warn,
)
from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import TokenError
from proxy.runtime import serve
from proxy.tokens.credentials import Logins
from proxy.tokens.grants import AuthorizationCode
from proxy.tokens.token import TokenKey, TokenKind

ABOUT = """\
Exchanges an authorization code, read from standard input, and keeps the refresh token in
refresh_token_file, where the proxy reads it.
"""
EXAMPLE = """\
  candescent-proxy login --config candescent-proxy/proxy.yaml < code.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings and the institution."""
    add_settings(parser, "base_url")
    token_endpoint.add_login_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the code from standard input and exchange it."""
    config = configuration(arguments)
    code = secret_input("Authorization code: ")
    try:
        key = token_endpoint.requested_key(
            config, TokenKind.V2, arguments.institution, arguments.listener
        )
    except ValueError as error:
        return report_failure(str(error))
    return serve.run(login(config, loader.logins(config), key, code))


async def login(config: Config, logins: Logins, key: TokenKey, code: str) -> int:
    """Exchange an authorization code, which is good once, and keep its refresh token in the file.

    A running proxy with the same ``refresh_token_file`` uses it. Raises ``ConfigError`` if the file
    cannot be written.
    """
    section = f"listeners.{key.subject}." if key.subject else ""
    file = dict(config.refresh_token_files()).get(section)
    # Checked before the code is used up.
    if file is None:
        return report_failure(
            f"{section}refresh_token_file is not set, so there is nowhere to keep the login"
        )
    if not isinstance(logins.for_key(key).grant, AuthorizationCode):
        return report_failure(
            f"{_whose(key)} does not log in with a code; set its grant to authorization_code"
        )
    async with token_endpoint.endpoint(config, logins, key, warn) as endpoint:
        try:
            await endpoint.exchange(key, code)
        except TokenError as error:
            return report_failure(
                f"not logged in. {error.operator_detail} A code is good once; ask for a new one."
            )
    print(f"Logged in for {_whose(key)}; kept in {file}.")
    return OK


def _whose(key: TokenKey) -> str:
    return f"listener {key.subject}" if key.subject else f"institution {key.institution}"
