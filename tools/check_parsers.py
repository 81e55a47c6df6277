"""Fails if a compiled HTTP parser is missing: ``python tools/check_parsers.py``.

aiohttp silently falls back to a parser in Python where its compiled one could not be built or is
switched off. That one is slower and reads some messages differently from llhttp, which would
allow request smuggling. So nothing is built or tested with it. ``make test`` and the image's build
run this in their environment.
"""

import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES

COMPILED = (
    "httptools.parser.parser",  # parses requests and the bank's responses
    "aiohttp._http_parser",  # parses token responses and admin requests
    "aiohttp._http_writer",  # refuses line ends in headers
)


def missing() -> Iterator[str]:
    """Return a sentence for each missing parser."""
    for name in COMPILED:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            yield f"{name}: cannot be loaded ({error})"
            continue
        if not str(module.__file__).endswith(tuple(EXTENSION_SUFFIXES)):
            yield f"{name}: is not compiled"
    parser = importlib.import_module("aiohttp.http_parser")
    for role in ("HttpRequestParser", "HttpResponseParser"):
        if getattr(parser, role) is getattr(parser, role + "Py"):
            yield f"aiohttp.http_parser.{role}: is the one in Python"


def main() -> int:
    """Print the missing parsers; return the exit code."""
    found = list(missing())
    if found:
        print("An HTTP parser is missing in this environment:", *found, sep="\n  ")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
