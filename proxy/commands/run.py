"""``run``: forward requests until a signal comes."""

import argparse

from proxy import logs, runner
from proxy.commands.shared import add_settings, config_file, configuration
from proxy.config import settings
from proxy.config.model import Config
from proxy.credentials import Logins


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings."""
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the proxy. Raises ``ConfigError`` if it cannot start."""

    def reread() -> tuple[Config, Logins]:
        config = configuration(arguments)
        return config, settings.logins(config)

    config, _ = reread()
    logs.set_up(config.log)
    return runner.run(runner.serve(reread, config_file(arguments)))
