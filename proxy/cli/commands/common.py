"""What commands share: the flags of the configuration, input and output."""

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import Any

from proxy.cli import admin_client
from proxy.cli.commands import FAILED, OK
from proxy.config import loader
from proxy.config.model import ADMIN, LISTEN, Config
from proxy.errors import ConfigError
from proxy.server.address import Address
from proxy.settings import parse_duration

FLAGS = {
    "listen": ("HOST:PORT", f"where applications call (default {LISTEN})"),
    "admin": ("HOST:PORT", f"probes, metrics and status page (default {ADMIN})"),
    "base_url": ("URL", "the API's base URL, instead of an environment's"),
    "log_level": ("LEVEL", "debug, info, warning or error (default info)"),
    "log_format": ("FORMAT", "json, console or auto (default)"),
}
"""Settings that are flags of the commands that use them."""


def add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add ``--config`` and the flags of these settings."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file (CANDESCENT_CONFIG)"
    )
    for name in names:
        metavar, text = FLAGS[name]
        group.add_argument("--" + name.replace("_", "-"), metavar=metavar, help=text)


def duration(text: str) -> float:
    """Return the seconds in an argument; a number has no unit. Raises ``ArgumentTypeError``."""
    try:
        return float(str(parse_duration(text)))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected a duration, such as 5s, 500ms or 2m; got "{text}"'
        ) from None


def flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings on the command line, nested as in the file."""
    settings: dict[str, Any] = {}
    for name in FLAGS:
        value = getattr(arguments, name, None)
        if value is not None:
            section, _, rest = name.partition("_")
            if section == "log":
                settings.setdefault("log", {})[rest] = value
            else:
                settings[name] = value
    return settings


def config_file(arguments: argparse.Namespace) -> Path | None:
    """Return the path of the configuration file, if one is set."""
    named = arguments.config or os.environ.get("CANDESCENT_CONFIG")
    return Path(named) if named else None


def configuration(arguments: argparse.Namespace) -> Config:
    """Return the configuration from file, environment and flags. Raises ``ConfigError``."""
    return loader.load(config_file(arguments), os.environ, flags(arguments))


def admin_address(arguments: argparse.Namespace) -> Address:
    """Return the admin address of a running proxy. Raises ``ConfigError``."""
    # Only one setting is needed, so errors in others are ignored.
    given = arguments.admin or os.environ.get("CANDESCENT_ADMIN")
    file = config_file(arguments)
    if given is None and file is not None:
        given = loader.read_file(file).get("admin")
    return admin_client.reachable(loader.address("admin", given or ADMIN))


def secret_input(prompt: str) -> str:
    """Return one line of standard input, typed without echo on a terminal.

    Raises ``ConfigError`` if there is none.
    """
    text = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    if not text.strip():
        raise ConfigError(["standard input: expected one line, but it is empty"])
    return text.strip()


def warn(text: str) -> None:
    """Print a message to standard error."""
    print(f"candescent-proxy: {text}", file=sys.stderr)


def report_failure(text: str) -> int:
    """Print an error; return the exit code for a failure."""
    warn(text)
    return FAILED


def print_probe(result: tuple[bool, str]) -> int:
    """Print a probe's result to standard output or error; return the exit code."""
    is_well, message = result
    print(message.rstrip(), file=sys.stdout if is_well else sys.stderr)
    return OK if is_well else FAILED
