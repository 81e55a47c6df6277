"""``healthcheck``: whether a running proxy is ready, for container probes."""

import argparse

from proxy.cli import admin_client
from proxy.cli.commands.common import add_settings, admin_address, print_probe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings and the probe."""
    add_settings(parser)
    parser.add_argument("--live", action="store_true", help="check only whether it is alive")


def run(arguments: argparse.Namespace) -> int:
    """Ask once."""
    return print_probe(
        admin_client.probe(admin_address(arguments), "livez" if arguments.live else "readyz")
    )
