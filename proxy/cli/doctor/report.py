"""How findings are told: lines for a person, in colour on a terminal, or one JSON document."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TextIO

from proxy import __version__
from proxy.cli.doctor.results import CheckResult, Level, has_failed

_STYLES = {
    Level.OK: "green",
    Level.NOTE: "cyan",
    Level.SKIPPED: "dim",
    Level.WARNING: "yellow",
    Level.FAILED: "bold red",
}
_INDENT = 24
_NAMES = {"failed": "{} failed", "warning": "{} to look at"}

ResultWriter = Callable[[CheckResult], None]


def lines(result: CheckResult, width: int = 100) -> list[str]:
    """Return a finding as lines of text; what stands first in each is its level or nothing."""
    head = f"{result.level:8} {result.check:14} "
    room = textwrap.TextWrapper(
        width - _INDENT, break_long_words=False, break_on_hyphens=False
    )  # so that a path or a command can be copied whole
    options = room.wrap(result.text)
    cure = room.wrap(f"Cure: {result.cure}")
    rest = options[1:] + (cure if result.cure else [])
    return [head + options[0], *(" " * _INDENT + line for line in rest)]


def summary(results: Iterable[CheckResult]) -> str:
    """Return the last line: how many there are of what needs a cure."""
    counts = Counter(str(result.level) for result in results)
    ill = [text.format(counts[name]) for name, text in _NAMES.items() if counts[name]]
    return ", ".join(ill) or "All is well."


def result_writer(stream: TextIO) -> ResultWriter:
    """Return what writes findings to ``stream``; in colour on a terminal, unless NO_COLOR."""
    if not stream.isatty():
        return lambda result: print(*lines(result), sep="\n", file=stream, flush=True)
    # Only here, so that a script does not wait for it.
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream, highlight=False)

    def tell(result: CheckResult) -> None:
        first, *rest = lines(result, max(console.width, 2 * _INDENT))
        line = Text(first)
        line.stylize(_STYLES[result.level], 0, 8)
        console.print(line, *map(Text, rest), sep="\n", soft_wrap=True)

    return tell


def document(results: Iterable[CheckResult]) -> str:
    """Return all findings as JSON: ``well`` says whether nothing failed."""
    all_results = list(results)
    return json.dumps(
        {
            "version": __version__,
            "well": not has_failed(all_results),
            "findings": [
                {
                    "check": result.check,
                    "level": result.level,
                    "text": result.text,
                    "cause": result.cause or None,
                    "cure": result.cure or None,
                }
                for result in all_results
            ],
        },
        indent=2,
    )
