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
    parser.add_argument("--institution", help="other than the default one")


def run(arguments: argparse.Namespace) -> int:
    """Read the code from standard input and exchange it."""
    config = configuration(arguments)
    code = secret_input("Authorization code: ")
    return serve.run(login(config, loader.logins(config), arguments.institution, code))


async def login(config: Config, logins: Logins, institution: str | None, code: str) -> int:
    """Exchange an authorization code, which is good once, and keep its refresh token in the file.

    A running proxy with the same ``refresh_token_file`` uses it. Raises ``ConfigError`` if the file
    cannot be written.
    """
    if config.refresh_token_file is None:
        return report_failure(
            "refresh_token_file is not set, so there is nowhere to keep the login"
        )
    key = TokenKey(TokenKind.V2, institution or config.institution_id)
    # Checked before the code is used up.
    if key.institution not in config.permitted_institutions:
        return report_failure("--institution: is not allowed by the configuration")
    if not isinstance(logins.for_key(key).grant, AuthorizationCode):
        return report_failure(
            f"institution {key.institution} does not log in with a code; "
            "set its grant to authorization_code"
        )
    async with token_endpoint.endpoint(config, logins, warn) as endpoint:
        try:
            await endpoint.exchange(key, code)
        except TokenError as error:
            return report_failure(
                f"not logged in. {error.operator_detail} A code is good once; ask for a new one."
            )
    print(f"Logged in for institution {key.institution}; kept in {config.refresh_token_file}.")
    return OK
