"""Output of results: lines of text, in colour on a terminal, or one JSON document."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TextIO

from proxy import __version__
from proxy.cli.doctor.results import CheckResult, Level, has_failed

_STYLES = {
    Level.OK: "green",
    Level.INFO: "cyan",
    Level.SKIPPED: "dim",
    Level.WARNING: "yellow",
    Level.FAILED: "bold red",
}
_INDENT = 24
_COUNTED = {"failed": ("{} failed", "{} failed"), "warning": ("{} warning", "{} warnings")}

ResultWriter = Callable[[CheckResult], None]


def lines(result: CheckResult, width: int = 100) -> list[str]:
    """Return a result as lines of text; the first begins with its level."""
    head = f"{result.level:8} {result.check:14} "
    room = textwrap.TextWrapper(
        width - _INDENT, break_long_words=False, break_on_hyphens=False
    )  # so that a path or a command can be copied whole
    text = room.wrap(result.text)
    fix = room.wrap(f"Fix: {result.fix}") if result.fix else []
    return [head + text[0], *(" " * _INDENT + line for line in text[1:] + fix)]


def summary(results: Iterable[CheckResult]) -> str:
    """Return the last line: the number of failures and warnings."""
    counts = Counter(str(result.level) for result in results)
    problems = [
        forms[counts[level] > 1].format(counts[level])
        for level, forms in _COUNTED.items()
        if counts[level]
    ]
    return ", ".join(problems) or "No problems found."


def result_writer(stream: TextIO) -> ResultWriter:
    """Return a writer of results to ``stream``; in colour on a terminal, unless NO_COLOR is set."""
    if not stream.isatty():
        return lambda result: print(*lines(result), sep="\n", file=stream, flush=True)
    # Imported only for a terminal, because it is slow to import.
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream, highlight=False)

    def write(result: CheckResult) -> None:
        first, *rest = lines(result, max(console.width, 2 * _INDENT))
        line = Text(first)
        line.stylize(_STYLES[result.level], 0, 8)
        console.print(line, *map(Text, rest), sep="\n", soft_wrap=True)

    return write


def document(results: Iterable[CheckResult]) -> str:
    """Return all results as JSON: ``ok`` says whether nothing failed."""
    all_results = list(results)
    return json.dumps(
        {
            "version": __version__,
            "ok": not has_failed(all_results),
            "results": [
                {
                    "check": result.check,
                    "level": result.level,
                    "text": result.text,
                    "cause": result.cause or None,
                    "fix": result.fix or None,
                }
                for result in all_results
            ],
        },
        indent=2,
    )
