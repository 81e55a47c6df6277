"""``demo``: the proxy at work in front of the sandbox bank."""

import argparse

from proxy import runner
from proxy.desk import demo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add whether it stays."""
    parser.add_argument("--once", action="store_true", help="show it once and exit")


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    return runner.run(demo.show(once=arguments.once))
