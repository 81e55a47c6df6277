"""``check-config``: every mistake in the configuration, and in the files that it names."""

import argparse
import json

from proxy import admission, parts, settings
from proxy.commands import OK
from proxy.commands.shared import add_settings, configuration
from proxy.config import Config
from proxy.errors import ConfigError
from proxy.upstream.tls import UpstreamTls


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings, and the schema in place of a check."""
    add_settings(parser)
    parser.add_argument("--print-schema", action="store_true", help="print the JSON Schema instead")


def run(arguments: argparse.Namespace) -> int:
    """Say that the configuration is good, or raise ``ConfigError``."""
    if arguments.print_schema:
        print(json.dumps(Config.model_json_schema(), indent=2))
        return OK
    config = configuration(arguments)
    check_files(config)
    print(f"The configuration is good: {config.listen} → {config.url.geturl()}")
    return OK


def check_files(config: Config) -> None:
    """Read every file that the configuration names.

    Raises ``ConfigError`` with all that cannot be used.
    """
    mistakes: list[str] = []
    for read in (
        lambda: settings.logins(config),
        lambda: UpstreamTls.load(config.upstream, https=config.url.scheme == "https"),
        lambda: parts.outbound_proxy(config),
        lambda: admission.Admission.load(config.callers),
        lambda: admission.server_context(config.callers),
        lambda: parts.tracing(config, lambda: config.url),
    ):
        try:
            read()
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
