"""How findings are told: lines for a person, in colour on a terminal, or one JSON document."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TextIO

from proxy import __version__
from proxy.cli.doctor.results import Finding, Level, has_failed

_STYLES = {
    Level.WELL: "green",
    Level.NOTE: "cyan",
    Level.SKIPPED: "dim",
    Level.WARNING: "yellow",
    Level.FAILED: "bold red",
}
_INDENT = 24
_NAMES = {"failed": "{} failed", "warning": "{} to look at"}

Tell = Callable[[Finding], None]


def lines(finding: Finding, width: int = 100) -> list[str]:
    """Return a finding as lines of text; what stands first in each is its level or nothing."""
    head = f"{finding.level:8} {finding.check:14} "
    room = textwrap.TextWrapper(
        width - _INDENT, break_long_words=False, break_on_hyphens=False
    )  # so that a path or a command can be copied whole
    told = room.wrap(finding.text)
    cure = room.wrap(f"Cure: {finding.cure}")
    rest = told[1:] + (cure if finding.cure else [])
    return [head + told[0], *(" " * _INDENT + line for line in rest)]


def summary(findings: Iterable[Finding]) -> str:
    """Return the last line: how many there are of what needs a cure."""
    counts = Counter(str(finding.level) for finding in findings)
    ill = [text.format(counts[name]) for name, text in _NAMES.items() if counts[name]]
    return ", ".join(ill) or "All is well."


def teller(stream: TextIO) -> Tell:
    """Return what writes findings to ``stream``; in colour on a terminal, unless NO_COLOR."""
    if not stream.isatty():
        return lambda finding: print(*lines(finding), sep="\n", file=stream, flush=True)
    # Only here, so that a script does not wait for it.
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream, highlight=False)

    def tell(finding: Finding) -> None:
        first, *rest = lines(finding, max(console.width, 2 * _INDENT))
        line = Text(first)
        line.stylize(_STYLES[finding.level], 0, 8)
        console.print(line, *map(Text, rest), sep="\n", soft_wrap=True)

    return tell


def document(findings: Iterable[Finding]) -> str:
    """Return all findings as JSON: ``well`` says whether nothing failed."""
    found = list(findings)
    return json.dumps(
        {
            "version": __version__,
            "well": not has_failed(found),
            "findings": [
                {
                    "check": finding.check,
                    "level": finding.level,
                    "text": finding.text,
                    "cause": finding.cause or None,
                    "cure": finding.cure or None,
                }
                for finding in found
            ],
        },
        indent=2,
    )
