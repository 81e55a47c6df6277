"""Compares the cost of a request with its budget; works on noisy machines.

::

    make cost                   count, and compare the counts with bench/budget.toml
    make cost ARGS=--list       list every function that a request calls, with its count
    make cost ARGS=--write      write the counts into the budget
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.cost import KINDS, Counts, counted, measure

FILE = Path(__file__).parent / "budget.toml"
TOLERANCE = 0.03
STRANGE = 0.10
"""The tolerance for a Python without a budget, because counts differ by version."""
MOST_LEFT = 0.8
"""Memory blocks per request that may be left; a leak leaves at least one.

The proxy's own samples keep a few blocks a second, and a busy machine needs seconds for a count.
"""
HEAD = """\
# The largest cost of a forwarded request, by Python and kind: function calls, and allocated memory
# blocks. `make cost` and tests/bench/test_cost.py check it; `make cost ARGS=--write` writes the
# present counts here, which needs a reason.
"""
ADVICE = (
    "A request costs more than its budget. `make cost ARGS=--list` lists the functions that it "
    "calls. If the cost is justified, say why in bench/README.md and raise the budget: `make cost "
    "ARGS=--write`, with each Python in bench/budget.toml."
)


def complaints(kind: str, counts: Counts, budget: Counts, tolerance: float) -> Iterator[str]:
    """Yield a sentence for each count above the budget."""
    for name, most in budget.items():
        if counts[name] > most * (1 + tolerance):
            more = counts[name] / most - 1
            yield f"{kind}: {counts[name]:.2f} {name} instead of {most:.2f} ({more:+.1%})"
    for name in ("kept_blocks", "circular_objects"):
        if counts[name] > MOST_LEFT:
            yield f"{kind}: {counts[name]:.2f} {name} left behind each request"


def version() -> str:
    """Return this Python's version, as in the budget file."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def allowed(file: Path = FILE) -> tuple[dict[str, Counts], float]:
    """Return the budget for this Python, kind to counts, and its tolerance.

    An unknown Python has the budget of the newest known one.
    """
    versions: dict[str, dict[str, Counts]] = tomllib.loads(file.read_text(encoding="utf-8"))
    if version() in versions:
        return versions[version()], TOLERANCE
    newest = max(versions, key=lambda text: [int(part) for part in text.split(".")])
    return versions[newest], STRANGE


def written(versions: Mapping[str, Mapping[str, Counts]]) -> str:
    """Return budgets as TOML text."""
    parts = [HEAD]
    for python, kinds in sorted(versions.items()):
        for kind, counts in kinds.items():
            lines = [f"{name} = {number:.2f}\n" for name, number in counts.items()]
            parts.append(f'["{python}".{kind}]\n{"".join(lines)}')
    return "\n".join(parts)


def write(found: Mapping[str, Counts], file: Path = FILE) -> None:
    """Write counts as the budget of this Python."""
    versions = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    versions[version()] = {
        kind: {name: counts[name] for name in ("python_calls", "c_calls", "blocks")}
        for kind, counts in found.items()
    }
    file.write_text(written(versions), encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    if arguments == ["--list"]:
        print("\n".join(_listed()))
        return 0
    found = {kind: measure(kind) for kind in KINDS}
    for kind, counts in found.items():
        print(f"{kind}:", ", ".join(f"{number:.2f} {name}" for name, number in counts.items()))
    if arguments == ["--write"]:
        write(found)
    limits, tolerance = allowed()
    said = [
        text
        for kind, counts in found.items()
        for text in complaints(kind, counts, limits[kind], tolerance)
    ]
    print("\n".join([*said, ADVICE]) if said else "within the budget")
    return bool(said)


def _listed() -> Iterator[str]:
    for kind in KINDS:
        with counted(kind) as proxy:
            names = proxy.count("names")
        yield f"{kind}:"
        for name, number in sorted(names.items(), key=lambda item: -item[1]):
            if number > 0.5:
                yield f"  {number:5.2f} {name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
