"""``revoke``: revokes a leaked token, or a login that is no longer needed."""

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
from proxy.tokens.token import TokenKey, TokenKind

ABOUT = """\
Revokes an access or refresh token, read from standard input, at the bank.
"""
EXAMPLE = """\
  candescent-proxy revoke --config candescent-proxy/proxy.yaml < token.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings, the kind of token, and the institution."""
    add_settings(parser, "base_url")
    parser.add_argument("--kind", choices=["v2", "v1"], default="v2")
    token_endpoint.add_login_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the token from standard input and revoke it."""
    if arguments.kind == "v1":
        return report_failure("the bank cannot revoke V1 tokens; they expire.")
    config = configuration(arguments)
    try:
        key = token_endpoint.requested_key(
            config, TokenKind.V2, arguments.institution, arguments.listener
        )
    except ValueError as error:
        return report_failure(str(error))
    text = secret_input("Access or refresh token: ")
    return serve.run(revoke(config, loader.logins(config), key, text))


async def revoke(config: Config, logins: Logins, key: TokenKey, text: str) -> int:
    """Revoke a V2 access or refresh token; the latter revokes its access tokens too."""
    async with token_endpoint.endpoint(config, logins, key, warn) as endpoint:
        try:
            await endpoint.revoke(text, logins.for_key(key).credentials)
        except TokenError as error:
            return report_failure(
                f"not revoked. {error.operator_detail} {error.explained_by.remedy}"
            )
    print("Revoked.")
    return OK
