"""``healthcheck``: whether a running proxy is ready, for container probes."""

import argparse

from proxy.cli import admin_client
from proxy.cli.commands.common import add_settings, admin_address, print_probe

ABOUT = """\
Asks a running proxy whether it is ready: exit code 0 or 1, for probes of containers.
"""
EXAMPLE = """\
  candescent-proxy healthcheck --admin 127.0.0.1:9090
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings and the probe."""
    add_settings(parser, "admin")
    parser.add_argument("--live", action="store_true", help="check only whether it is alive")


def run(arguments: argparse.Namespace) -> int:
    """Ask once."""
    return print_probe(
        admin_client.probe(admin_address(arguments), "livez" if arguments.live else "readyz")
    )
