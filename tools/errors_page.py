"""Generates the entries of docs/troubleshooting.md from the catalogue of errors.

::

    python -m tools.errors_page            print them
    python -m tools.errors_page --write    put them into docs/troubleshooting.md
"""

import sys
from collections.abc import Iterator, Sequence

from proxy.errors import ErrorKind, Source, kinds
from tools.passage import Passage
from tools.repository import ROOT

DOCUMENT = ROOT / "docs" / "troubleshooting.md"

PLACE = Passage("errors", "written by `make errors`")

_MISSING = """\
The bank gave no token, so the request could not be sent. Requests for which there is a valid
token are not affected. The response has `Retry-After`; `code` is the bank's own."""
_UPSTREAM = """\
The application may send a `GET` again; for anything else, find out first whether the bank
processed it."""

_SECTIONS = {
    Source.TOKEN: ("No token", _MISSING),
    Source.UPSTREAM: ("The bank's side", _UPSTREAM),
    Source.PROXY: ("The proxy itself", "The proxy cannot take the request."),
    Source.CALLER: (
        "The application",
        "The request cannot be forwarded. Nothing has gone to the bank.",
    ),
}


def entries() -> str:
    """Return the sections with an entry for each kind of error."""
    return "\n\n".join(_paragraphs())


def _paragraphs() -> Iterator[str]:
    for source, (title, introduction) in _SECTIONS.items():
        yield f"## {title}"
        yield introduction
        for kind in kinds.KINDS:
            if kind.source is source and kind.status:
                yield _entry(kind)
    yield "## Shown on the status page only"
    for kind in kinds.KINDS:
        if not kind.status:
            yield _entry(kind)


def _entry(kind: ErrorKind) -> str:
    closes = ", connection closed" if kind.closes else ""
    status = f"{kind.status}{closes}. " if kind.status else ""
    return f"### {kind.name}\n{status}{kind.cause}\n\n{kind.remedy}"


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    if arguments == ["--write"]:
        PLACE.write(DOCUMENT, entries())
    else:
        print(entries())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
