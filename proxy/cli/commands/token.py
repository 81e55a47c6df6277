"""``token``: fetches a token and describes it; prints the token itself only with ``--reveal``."""

import argparse
from datetime import UTC, datetime

from proxy.cli.commands import OK, token_endpoint
from proxy.cli.commands.common import add_settings, configuration, report_failure, warn
from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import TokenError
from proxy.runtime import serve
from proxy.tokens.credentials import Logins
from proxy.tokens.token import Token, TokenKey, TokenKind

ABOUT = """\
Requests a token from the bank and says how long it is valid; with --reveal prints it.
"""
EXAMPLE = """\
  curl --header "Authorization: Bearer $(candescent-proxy token --reveal)" …
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings, the token's kind and institution, and ``--reveal``."""
    add_settings(parser, "base_url")
    parser.add_argument("--kind", choices=["v2", "v1"], default="v2", help="default v2")
    token_endpoint.add_login_arguments(parser)
    parser.add_argument(
        "--reveal", action="store_true", help="print it, and nothing else, to standard output"
    )


def run(arguments: argparse.Namespace) -> int:
    """Fetch a token from the bank."""
    config = configuration(arguments)
    if config.bearer_token is not None:
        return report_failure("bearer_token is set, so the proxy fetches no tokens")
    try:
        key = token_endpoint.requested_key(
            config, TokenKind(arguments.kind), arguments.institution, arguments.listener
        )
    except ValueError as error:
        return report_failure(str(error))
    return serve.run(get(config, loader.logins(config), key, reveal=arguments.reveal))


async def get(config: Config, logins: Logins, key: TokenKey, *, reveal: bool) -> int:
    """Fetch a token and describe it; with ``reveal`` print it.

    Raises ``ConfigError`` for files that cannot be used.
    """
    async with token_endpoint.endpoint(config, logins, key, warn) as endpoint:
        try:
            token = await endpoint.token(key)
        except TokenError as error:
            return report_failure(
                f"no token. {error.operator_detail} {error.explained_by.remedy} "
                "candescent-proxy doctor may find more."
            )
    if not reveal:
        print(f"{describe(token)}\n--reveal prints it.")
        return OK
    warn(f"{describe(token)} Anyone who has it can act as your application. Do not store it.")
    print(token.text)
    return OK


def describe(token: Token) -> str:
    """Return kind, institution and lifetime of a token in a sentence, without its text."""
    until = datetime.fromtimestamp(token.expires_at, UTC)
    return (
        f"A {token.key.kind} token for institution {token.key.institution}, valid for "
        f"{token.lifetime:.0f} s, until {until:%Y-%m-%d %H:%M:%S} UTC."
    )
