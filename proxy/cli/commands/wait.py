"""``wait``: waits until a running proxy is ready, for start scripts."""

import argparse

from proxy.cli import admin_client
from proxy.cli.commands.common import add_settings, admin_address, duration, print_probe

ABOUT = """\
Waits until a running proxy is ready, for scripts that start an application after it.
"""
EXAMPLE = """\
  candescent-proxy wait --timeout 30s && exec my-application
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings and the timeout."""
    add_settings(parser, "admin")
    parser.add_argument(
        "--timeout", type=duration, default=60.0, metavar="TIME", help="default 60s"
    )


def run(arguments: argparse.Namespace) -> int:
    """Probe until the proxy is ready or the timeout has passed."""
    return print_probe(admin_client.wait(admin_address(arguments), arguments.timeout))
