"""Requires full coverage of the pure modules by their own tests.

::

    python -m tools.pure_coverage           print the files of those tests
    python -m tools.pure_coverage REPORT    check what ``coverage json`` wrote

Pure modules do no I/O, so every line and branch of theirs can be tested.
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


def pure_files(root: Path, pure: Iterable[str]) -> list[str]:
    """Return the files of pure modules, relative to ``root``; those of a package, all of them."""
    places = [root / name.replace(".", "/") for name in pure]
    files = [
        file
        for place in places
        for file in (place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])
    ]
    return sorted(str(file.relative_to(root)) for file in files)


def own_tests(files: Iterable[str]) -> Iterator[str]:
    """Yield the test file of each module: a/b.py is tested in tests/a/test_b.py."""
    for file in map(Path, files):
        if file.stem != "__init__":
            yield str(Path("tests", *file.parts[1:-1], f"test_{file.name}"))


def holes(files: Mapping[str, Any], root: Path, pure: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each pure module below ``root`` that is not fully covered.

    ``files`` is that part of the report: lines and branches by path.
    """
    for path in pure_files(root, pure):
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
    pure = pure_modules((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if not arguments:
        print(*own_tests(pure_files(ROOT, pure)))
        return 0
    files = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))["files"]
    found = list(holes(files, ROOT, pure))
    if found:
        print("Not covered in the pure modules:", *found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
