"""``demo``: the proxy at work in front of the sandbox bank."""

import argparse

from proxy.cli import tour
from proxy.runtime import serve

ABOUT = """\
Starts a sandbox bank and a proxy, shows requests with and without tokens, and goes on until
Ctrl-C.
"""
EXAMPLE = """\
  candescent-proxy demo
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--once``."""
    parser.add_argument("--once", action="store_true", help="show it once and exit")


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    return serve.run(tour.show(once=arguments.once))
