"""``wait``: until a running proxy is ready, for start scripts."""

import argparse

from proxy.cli import admin_client
from proxy.cli.commands.common import add_settings, admin_address, print_probe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings, and for how long."""
    add_settings(parser)
    parser.add_argument("--timeout", type=float, default=60, help="seconds (default 60)")


def run(arguments: argparse.Namespace) -> int:
    """Ask until it is, or the time is over."""
    return print_probe(admin_client.wait(admin_address(arguments), arguments.timeout))
