"""``check-config``: every error in the configuration, and in the files that it names."""

import argparse
import json
import sys

from proxy.cli.commands import OK
from proxy.cli.commands.common import FLAGS, add_settings, configuration
from proxy.cli.doctor import files
from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.runtime import exposed_files

ABOUT = """\
Reads the configuration and every file that it names, and prints every error. Nothing is sent.
"""
EXAMPLE = """\
  candescent-proxy check-config --config candescent-proxy/proxy.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings, and the schema in place of a check."""
    add_settings(parser, *FLAGS)
    parser.add_argument("--print-schema", action="store_true", help="print the JSON Schema instead")


def run(arguments: argparse.Namespace) -> int:
    """Print that the configuration is valid, or raise ``ConfigError``."""
    if arguments.print_schema:
        print(json.dumps(Config.model_json_schema(), indent=2))
        return OK
    config = configuration(arguments)
    check_files(config)
    for warning in exposed_files.warnings(config):
        print(f"Warning: {warning}", file=sys.stderr)
    listeners = ", ".join(str(listener.address) for listener in config.listener_configs)
    print(f"The configuration is valid: {listeners} → {', '.join(config.base_urls)}")
    return OK


def check_files(config: Config) -> None:
    """Read every file that the configuration names.

    Raises ``ConfigError`` with all files that cannot be used.
    """
    errors: list[str] = []
    try:
        loader.logins(config)
    except ConfigError as error:
        errors += error.errors
    errors += files.file_errors(config)
    if errors:
        raise ConfigError(errors)
