"""``run``: forwards requests until SIGTERM or SIGINT."""

import argparse
import os
from collections.abc import Mapping

import structlog

from proxy.cli.commands.common import FLAGS, add_settings, config_file, configuration
from proxy.config import loader
from proxy.config.model import SDK_ENVIRONMENTS, Config
from proxy.errors import ConfigError
from proxy.runtime import serve
from proxy.server.sockets import ListenError
from proxy.telemetry import logs
from proxy.tokens.credentials import Logins

ABOUT = """\
Forwards requests to the bank and adds an access token to each. SIGTERM or Ctrl-C ends it
when the requests in progress are finished, a second one at once. Changed files are reloaded.
"""
EXAMPLE = """\
  candescent-proxy run --config candescent-proxy/proxy.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings."""
    add_settings(parser, *FLAGS)


def run(arguments: argparse.Namespace) -> int:
    """Run the proxy. Raises ``ConfigError`` if it cannot start."""

    def load() -> tuple[Config, Logins]:
        config = configuration(arguments)
        return config, loader.logins(config)

    config, _ = load()
    logs.write_stderr_on_thread()
    logs.set_up(config.log)
    compare_with_sdk(config, os.environ)
    try:
        return serve.run(serve.serve(load, config_file(arguments)))
    except ListenError as error:
        from proxy.cli.doctor import machine  # noqa: PLC0415 - only for this error

        used = machine.used_ports(config) if error.is_in_use else []
        raise ConfigError(used or error.errors) from error


def compare_with_sdk(config: Config, environ: Mapping[str, str]) -> None:
    """Log variables of the vendor's SDK that are ignored, or have another meaning here."""
    log = structlog.get_logger()
    if ignored := loader.ignored_variables(environ):
        log.warning("variables of the vendor's SDK ignored", variables=ignored)
    sdk_url, url = SDK_ENVIRONMENTS.get(config.environment or ""), config.url.geturl()
    if sdk_url is not None and sdk_url != url:
        log.info(
            "environment means another base URL in the vendor's SDK",
            environment=config.environment,
            base_url=url,
            sdk_base_url=sdk_url,
        )
