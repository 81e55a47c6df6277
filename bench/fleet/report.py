"""Saves results as JSON, a file per group, and formats them as Markdown tables."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fleet.call_log import Figures
from bench.machine import ROOT
from tools.passage import Passage

PAGE = ROOT / "bench" / "fleet" / "README.md"

Table = Sequence[Sequence[str]]
"""Rows of cells; the first is the head."""


@dataclass(frozen=True, slots=True)
class PlanResult:
    """The results of a plan: ``played`` by the simulation, ``real`` by real proxies, or both.

    A plan's name is its group followed by its parameters: ``steady-100-10-1800-store``.
    """

    name: str
    played: Figures
    real: Figures | None = None

    @property
    def words(self) -> list[str]:
        """The parameters in its name."""
        return self.name.split("-")[1:]


def save(folder: Path, group: str, results: Sequence[PlanResult], **about: str) -> None:
    """Write a group's results to a file; ``about`` names machine and date."""
    document = {**about, "results": [asdict(one) for one in results]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{group}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(folder: Path, group: str) -> tuple[list[PlanResult], Mapping[str, str]]:
    """Return a group's results and their machine and date; empty without a file."""
    file = folder / f"{group}.json"
    if not file.exists():
        return [], {}
    document = json.loads(file.read_text(encoding="utf-8"))
    results = [
        PlanResult(
            one["name"],
            Figures(**one["played"]),
            Figures(**one["real"]) if one["real"] is not None else None,
        )
        for one in document.pop("results")
    ]
    return results, document


def place(group: str) -> Passage:
    """Return the passage of a group's table in the page."""
    return Passage(group, "written by `make fleet ARGS=--write`")


def markdown(group: str, results: Sequence[PlanResult], about: Mapping[str, str]) -> str:
    """Return a group's table, with the machine for measured results."""
    head, *rows = TABLES[group](results)
    lines = [head, ["---:" if at else "---" for at in range(len(head))], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if "machine" in about:
        text = f"Measured on {about['day']}; {about['machine']}.\n\n{text}"
    return text


def _steady(results: Sequence[PlanResult]) -> Table:
    """Calls an hour, and in the worst second, by pods, institutions and lifetime."""
    found = {tuple(one.words): one.played for one in results}
    lifetimes = sorted({int(one.words[2]) for one in results})
    head = ["pods", "institutions"]
    for lifetime in lifetimes:
        head += [f"{_span(lifetime)}, each its own", f"{_span(lifetime)}, with a store"]
    rows = []
    for pods, institutions in dict.fromkeys((one.words[0], one.words[1]) for one in results):
        row = [f"{int(pods):,}", institutions]
        for lifetime in lifetimes:
            for way in ("alone", "store"):
                one = found[pods, institutions, str(lifetime), way]
                row.append(_tries(one))
        rows.append(row)
    return [head, *rows]


def _jitter(results: Sequence[PlanResult]) -> Table:
    """Calls an hour, worst second and refused, by lifetime and the longest jitter."""
    head = ["lifetime", "`token.jitter_max`", "calls an hour", "worst second", "refused"]
    return [head, *(_jitter_row(one) for one in results)]


def _jitter_row(one: PlanResult) -> list[str]:
    lifetime, most = map(int, one.words)
    counts = (one.played.worst_second, one.played.refused)
    return [
        _span(lifetime),
        str(most),
        _rate(one.played.per_hour),
        *(f"{count:,}" for count in counts),
    ]


def _rollout(results: Sequence[PlanResult]) -> Table:
    """When all are ready, the worst second, and the calls that the bank refused."""
    return _by_way(results, ["at once", "spread", "with a store"], _start)


def _start(one: Figures) -> str:
    return f"{_seconds(one.ready_all)}; {one.worst_second:,}; {one.refused:,}"


def _bank(results: Sequence[PlanResult]) -> Table:
    """Tokens dead when the bank is back, when the last is replaced, worst second, refused."""
    return _by_way(results, ["each its own", "with a store"], _return)


def _return(one: Figures) -> str:
    return f"{one.without:,}; {_seconds(one.recovered)}; {one.worst_second:,}; {one.refused:,}"


def _unreachable(results: Sequence[PlanResult]) -> Table:
    """Tries an hour, and in the worst second."""
    return _by_way(results, ["each its own", "with a store"], _tries)


def _tries(one: Figures) -> str:
    return f"{_rate(one.per_hour)} ({one.worst_second:,})"


def _by_way(
    results: Sequence[PlanResult], ways: Sequence[str], cell: Callable[[Figures], str]
) -> Table:
    rows: dict[str, list[str]] = {}
    for one in results:
        pods = one.words[0]
        rows.setdefault(pods, [f"{int(pods):,}"]).append(cell(one.played))
    return [["pods", *ways], *rows.values()]


def _store(results: Sequence[PlanResult]) -> Table:
    """Calls in the hour without the store, worst second, refused, and tokens dead at once."""
    head = ["pods", "lifetime", "calls in the hour", "worst second", "refused", "tokens dead"]
    return [head, *(_store_row(one) for one in results)]


def _store_row(one: PlanResult) -> list[str]:
    pods, lifetime = map(int, one.words)
    counts = (one.played.calls, one.played.worst_second, one.played.refused, one.played.without)
    return [f"{pods:,}", _span(lifetime), *(f"{count:,}" for count in counts)]


def _wake(results: Sequence[PlanResult]) -> Table:
    """When the last of the thousand is fresh, the worst second, refused."""
    head = ["", "last token after", "worst second", "refused"]
    names = {"paced": "at the pace (`token.refresh_rate` 20)", "unpaced": "all at once"}
    return [
        head,
        *(
            [
                names[one.words[0]],
                _seconds(one.played.recovered),
                f"{one.played.worst_second:,}",
                f"{one.played.refused:,}",
            ]
            for one in results
        ),
    ]


def _real(results: Sequence[PlanResult]) -> Table:
    """Each figure as measured, and behind it as simulated."""
    head = ["", "token calls", "worst second", "refused", "all ready", "dead at once", "recovered"]
    return [head, *(_real_row(one) for one in results)]


def _real_row(one: PlanResult) -> list[str]:
    measured, played = one.real, one.played
    assert measured is not None
    *names, last = one.words
    is_settled = last == "settled"
    return [
        " ".join(names if is_settled else one.words),
        f"{measured.calls:,} ({played.calls:,})",
        f"{measured.worst_second:,} ({played.worst_second:,})",
        f"{measured.refused:,} ({played.refused:,})",
        "" if is_settled else f"{_seconds(measured.ready_all)} ({_seconds(played.ready_all)})",
        f"{measured.without:,} ({played.without:,})" if is_settled else "",
        _both(measured.recovered, played.recovered),
    ]


def _both(measured: float | None, played: float | None) -> str:
    if measured is None and played is None:
        return ""
    return f"{_seconds(measured)} ({_seconds(played)})"


def _rate(calls: float) -> str:
    return f"{calls:,.0f}" if calls >= 10 else f"{calls:.2g}"


def _span(seconds: int) -> str:
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


TABLES: Mapping[str, Callable[[Sequence[PlanResult]], Table]] = {
    "steady": _steady,
    "jitter": _jitter,
    "rollout": _rollout,
    "bank": _bank,
    "unreachable": _unreachable,
    "store": _store,
    "wake": _wake,
    "real": _real,
}
"""Group to what makes its table."""
