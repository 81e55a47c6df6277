"""The output of ``--version``: the release, how it was built, and the interpreter."""

import argparse
import importlib.util
import platform
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import ExtensionFileLoader
from typing import Any

from proxy import __version__

COMPILED_MODULE = "proxy.forwarding.forwarder"
"""A module that is compiled if any is: the build compiles the whole request path or nothing."""


class VersionAction(argparse.Action):
    """Prints the version and exits; the metadata are read only if the flag is given."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and exit."""
        print(version_line())
        parser.exit()


def version_line() -> str:
    """Return the version, with the reason if the installation could not compile."""
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    return f"candescent-proxy {__version__} ({build()}, {interpreter})"


def build() -> str:
    """Return how the running code was built: compiled, or plain Python and why."""
    spec = importlib.util.find_spec(COMPILED_MODULE)
    if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
        return "compiled"
    reason = why_not_compiled()
    return f"plain Python: {reason}" if reason else "plain Python"


def why_not_compiled() -> str | None:
    """Return the reason that tools/build_hook.py wrote into the wheel's metadata, if any."""
    try:
        text = metadata.distribution("candescent-proxy").read_text(
            "extra_metadata/not-compiled.txt"
        )
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return None
    return text.strip() if text else None
