"""Saves results as JSON, a file per case, and formats them as Markdown for the page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.cases import CASES, Case
from bench.figures import Figure, Round, summary
from bench.machine import ROOT
from bench.peers import PEERS, YARDSTICK
from tools.passage import Passage

PAGE = ROOT / "bench" / "README.md"
PLACE = Passage("bench", "written by `make bench ARGS=--write`")

METRICS = {
    "cpu_us": ("CPU a request, µs", 1),
    "user_us": ("of it in user mode, µs", 1),
    "system_us": ("of it in the kernel, µs", 1),
    "rps": ("requests a second", 0),
    "mbps": ("MB a second", 0),
    "cpu_ms_per_mb": ("CPU a MB, ms", 2),
    "resident_mb": ("memory, MB", 1),
    "p50_ms": ("p50, ms", 2),
    "p99_ms": ("p99, ms", 2),
    "p999_ms": ("p99.9, ms", 2),
    "late_p99_ms": ("the generator's own share, p99, ms", 2),
    "steady_cpu_us": ("CPU a request, µs", 1),
    "refreshes": ("refreshes", 0),
    "quiet_p99_ms": ("p99 between refreshes, ms", 2),
    "refresh_p99_ms": ("p99 during refreshes, ms", 2),
    "quiet_p999_ms": ("p99.9 between refreshes, ms", 2),
    "refresh_p999_ms": ("p99.9 during refreshes, ms", 2),
    "refresh_slowest_ms": ("slowest during refreshes, ms", 2),
    "token_calls_per_minute": ("token calls a minute", 0),
    "start_ms": ("time, ms", 0),
    "idle_mb": ("after the first request, MB", 1),
    "loaded_mb": ("after 256 callers, MB", 1),
    "bodies_mb": ("after bodies of 10 MB, MB", 1),
    "idle_us_per_s": ("CPU, µs a second", 0),
    "wake_ups_per_s": ("wake-ups a second", 1),
}
"""Title and decimals of the metrics in the report."""

COUNTS = frozenset({"refreshes", "token_calls_per_minute", "late_p99_ms"})
"""Metrics without a ratio."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of a case: date (ISO), machine, rounds and their summary."""

    case: Case
    when: str
    seconds: int
    machine: Mapping[str, str]
    rounds: Sequence[Round]

    @property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """Proxy to metric to figure."""
        return summary(self.rounds, YARDSTICK)

    def save(self, folder: Path) -> None:
        """Write it to a file named after the case."""
        document = {
            "case": self.case.name,
            "when": self.when,
            "seconds": self.seconds,
            "machine": dict(self.machine),
            "figures": {
                peer: {metric: asdict(figure) for metric, figure in figures.items()}
                for peer, figures in self.figures.items()
            },
            "rounds": self.rounds,
        }
        text = json.dumps(document, indent=1)
        (folder / f"{self.case.name}.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> "CaseResult":
        """Read one."""
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        case = CASES[document["case"]]
        return cls(
            case, document["when"], document["seconds"], document["machine"], document["rounds"]
        )


def saved(folder: Path) -> list[CaseResult]:
    """Return every result in a folder, in the order of the cases."""
    files = [folder / f"{name}.json" for name in CASES]
    return [CaseResult.load(file) for file in files if file.exists()]


def markdown(results: Sequence[CaseResult]) -> str:
    """Return the report: a table for each group of cases."""
    parts = [_preface(results)]
    for group, members in groupby(results, lambda result: result.case.group):
        together = list(members)
        parts.append(f"### {group}\n\n{_table(together)}")
        parts += _institutions(together)
    return "\n\n".join(parts) + "\n"


def _preface(results: Sequence[CaseResult]) -> str:
    machine = {
        name: sorted({result.machine.get(name, "") for result in results} - {""})
        for name in results[0].machine
    }
    known = ", ".join(f"{name} {' and '.join(said)}" for name, said in machine.items() if said)
    days = sorted({result.when[:10] for result in results})
    return (
        f"Measured on {' and '.join(days)}; {known}. Each figure is the median over the rounds; "
        f"in parentheses the median of each round's ratio to {PEERS[YARDSTICK].label}."
    )


def _table(results: Sequence[CaseResult]) -> str:
    peers = [name for name in PEERS if any(name in result.figures for result in results)]
    head = ["", "", *(PEERS[name].label for name in peers)]
    rule = ["---", "---", *("---:" for _ in peers)]
    rows = [row for result in results for row in _rows(result, peers)]
    return "\n".join(_line(row) for row in (head, rule, *rows))


def _line(cells: Sequence[str]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def _rows(result: CaseResult, peers: Sequence[str]) -> Iterator[list[str]]:
    for number, metric in enumerate(result.case.metrics):
        title = result.case.title if number == 0 else ""
        cells = (_cell(result.figures.get(name, {}), name, metric) for name in peers)
        yield [title, METRICS[metric][0], *cells]


def _cell(figures: Mapping[str, Figure], peer: str, metric: str) -> str:
    if metric not in figures:
        return ""
    figure = figures[metric]
    text = f"{figure.value:,.{METRICS[metric][1]}f}"
    if figure.ratio is not None and peer != YARDSTICK and metric not in COUNTS:
        text += f" ({figure.ratio:.2f})"
    failed = figures["failed"].value if "failed" in figures else 0.0
    return f"{text}, {failed:.1%} failed" if failed else text


def _institutions(results: Sequence[CaseResult]) -> Iterator[str]:
    """Return the cost per institution, if both cases have been measured."""
    found = {result.case.name: result.figures.get("ours", {}) for result in results}
    one, many = (found.get(f"institutions_{number}") for number in (1, 1000))
    if one and many:
        each = (many["resident_mb"].value - one["resident_mb"].value) * 1000 / 999
        yield f"Each further institution takes {each:.1f} KB of memory."
