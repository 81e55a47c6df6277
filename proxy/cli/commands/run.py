"""``run``: forward requests until a signal comes."""

import argparse

from proxy.cli.commands.common import add_settings, config_file, configuration
from proxy.config import loader
from proxy.config.model import Config
from proxy.runtime import serve
from proxy.telemetry import logs
from proxy.tokens.credentials import Logins


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings."""
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the proxy. Raises ``ConfigError`` if it cannot start."""

    def load() -> tuple[Config, Logins]:
        config = configuration(arguments)
        return config, loader.logins(config)

    config, _ = load()
    logs.set_up(config.log)
    return serve.run(serve.serve(load, config_file(arguments)))
