"""``wait``: waits until a running proxy is ready, for start scripts."""

import argparse

from proxy.cli import admin_client
from proxy.cli.commands.common import add_settings, admin_address, print_probe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings and the timeout."""
    add_settings(parser)
    parser.add_argument("--timeout", type=float, default=60, help="seconds (default 60)")


def run(arguments: argparse.Namespace) -> int:
    """Probe until the proxy is ready or the timeout has passed."""
    return print_probe(admin_client.wait(admin_address(arguments), arguments.timeout))
