"""``top``: shows a running proxy live in a terminal."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from textwrap import shorten
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from proxy.cli import admin_client
from proxy.cli.commands import FAILED, OK
from proxy.cli.commands.common import add_settings, admin_address, duration
from proxy.cli.terminal_view import Document, frame, unreachable_frame
from proxy.server.address import Address

WIDTH = 140
"""Columns without a terminal."""

ABOUT = """\
Shows a running proxy live: its state, tokens, rates and last requests. Ctrl-C ends it.
"""
EXAMPLE = """\
  candescent-proxy top --every 2s
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings and the interval."""
    add_settings(parser, "admin")
    parser.add_argument("--once", action="store_true", help="show it once and exit")
    parser.add_argument(
        "--every",
        type=duration,
        default=1.0,
        metavar="TIME",
        help="interval between two updates (default 1s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Watch until Ctrl-C; with ``--once`` return 0 if the proxy has responded, else 1."""
    address = admin_address(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    frames = poll(
        address, lambda: admin_client.probe(address, "api/status"), time.monotonic, console
    )
    if arguments.once:
        is_there, frame = next(frames)
        console.print(frame)
        return OK if is_there else FAILED
    if not console.is_terminal:
        for _, frame in frames:
            console.print(frame)
            sys.stdout.flush()  # so that a closed pipe is noticed
            time.sleep(arguments.every)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for _, frame in frames:
            live.update(frame, refresh=True)
            time.sleep(arguments.every)
    raise AssertionError("poll never ends")


def poll(
    address: Address,
    ask: Callable[[], tuple[bool, str]],
    clock: Callable[[], float],
    console: Console,
) -> Iterator[tuple[bool, RenderableType]]:
    """Poll the proxy without end: yield whether it responded, and the frame."""
    is_unicode = console.encoding.lower().startswith("utf")
    last: Document | None = None
    since: float | None = None
    while True:
        is_well, text = ask()
        status = document(text) if is_well else None
        if status is not None:
            last, since = status, None
            yield True, frame(status, is_unicode=is_unicode)
        else:
            now = clock()
            since = now if since is None else since
            why = (
                f"the response from {address} is not candescent-proxy's"
                if is_well
                else reason(text)
            )
            yield False, unreachable_frame(why, now - since, last)


def document(text: str) -> Document | None:
    """Return the status document in a response, or None if it is invalid."""
    try:
        read: Any = json.loads(text)
    except ValueError:
        return None
    return read if isinstance(read, dict) and read.get("format") == 1 else None


def reason(message: str) -> str:
    """Return in one line why there is no status."""
    first, *_ = [*message.strip().splitlines(), "the response is empty"]
    return shorten(first.removeprefix("candescent-proxy: "), 300)
