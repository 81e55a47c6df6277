"""Requires full coverage of the pure modules: ``python -m tools.pure_coverage REPORT``.

They do no I/O, so every line and branch of theirs can be tested. ``REPORT`` is what
``coverage json`` wrote. For other modules the coverage is printed only.
"""

import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tools.repository import ROOT


def pure_modules(pyproject: str) -> list[str]:
    """Return the modules of the import contract ``pure``."""
    contracts = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    return [name for one in contracts if one["id"] == "pure" for name in one["source_modules"]]


def holes(files: Mapping[str, Any], root: Path, pure: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each pure module below ``root`` that is not fully covered.

    ``files`` is that part of the report: lines and branches by path.
    """
    for path in sorted(f"{name.replace('.', '/')}.py" for name in pure):
        if "pragma: no" in (root / path).read_text(encoding="utf-8"):
            yield f"{path}: keeps something from being measured with a pragma"
        if path not in files:
            yield f"{path}: no test imports it"
        elif "missing_branches" not in files[path]:
            yield f"{path}: its branches were not measured"
        elif missing := [*_missing(files[path])]:
            yield f"{path}: {', '.join(missing)}"


def _missing(measured: Mapping[str, Any]) -> Iterator[str]:
    for _, run in groupby(enumerate(measured["missing_lines"]), lambda at: at[1] - at[0]):
        lines = [line for _, line in run]
        yield f"line {lines[0]}" if len(lines) == 1 else f"lines {lines[0]}-{lines[-1]}"
    for start, end in measured["missing_branches"]:
        if start not in measured["missing_lines"]:
            yield f"line {start} never goes to {f'line {end}' if end > 0 else 'the end'}"


def main(arguments: Sequence[str]) -> int:
    """Check the report named on the command line; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m tools.pure_coverage REPORT", file=sys.stderr)
        return 2
    files = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))["files"]
    pure = pure_modules((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = list(holes(files, ROOT, pure))
    if found:
        print("Not covered in the pure modules:", *found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
