"""Results of the fleet bench: files, tables, pictures."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.fleet import __main__ as fleet
from bench.fleet import plans, plots
from bench.fleet.call_log import Figures
from bench.fleet.plan import Plan
from bench.fleet.plans import GROUPS
from bench.fleet.report import PAGE, PlanResult, load, markdown, place, save

FIGURES = Figures(
    calls=1234,
    per_hour=617.0,
    worst_second=56,
    refused=7,
    ready_half=3.0,
    ready_all=61.9,
    recovered=None,
    without=0,
)


def some(group: str) -> list[PlanResult]:
    """Return a result for every plan of a group."""
    real = FIGURES if group == "real" else None
    return [PlanResult(plan.name, FIGURES, real) for plan in GROUPS[group]()]


def test_names_of_plans_are_unique() -> None:
    """They begin with their group."""
    names = [plan.name for group in GROUPS for plan in GROUPS[group]()]
    assert len(set(names)) == len(names)
    assert all(plan.name.startswith(f"{group}-") for group in GROUPS for plan in GROUPS[group]())


@pytest.mark.parametrize("group", GROUPS)
def test_results_can_be_read(tmp_path: Path, group: str) -> None:
    """Of a group without a run there are none."""
    assert load(tmp_path, group) == ([], {})
    save(tmp_path, group, some(group), day="2026-01-02")
    assert load(tmp_path, group) == (some(group), {"day": "2026-01-02"})


@pytest.mark.parametrize("group", GROUPS)
def test_table_is_complete(group: str) -> None:
    """Every row has all cells, and every plan is in it."""
    text = markdown(group, some(group), {})
    rows = [line.split("|")[1:-1] for line in text.splitlines()]
    assert {len(row) for row in rows} == {len(rows[0])}
    cells = len(rows[2:]) * len(rows[0])
    assert cells >= len(GROUPS[group]())
    assert "617" in text or "1,234" in text or "62 s" in text or "56" in text


def test_cells() -> None:
    """Commas, units, and missing values."""
    never = PlanResult("rollout-10000-spread", replace(FIGURES, ready_all=None))
    ways = [
        PlanResult("rollout-10000-alone", FIGURES),
        never,
        replace(never, name="rollout-10000-x"),
    ]
    assert markdown("rollout", ways, {}).splitlines()[-1] == (
        "| 10,000 | 62 s; 56; 7 | never; 56; 7 | never; 56; 7 |"
    )


def test_measured_table_names_its_machine() -> None:
    """And its date."""
    text = markdown("real", some("real"), {"day": "2026-01-02", "machine": "an abacus"})
    assert text.startswith("Measured on 2026-01-02; an abacus.\n\n| ")
    assert "| rollout alone | 1,234 (1,234) | 56 (56) | 7 (7) | 62 s (62 s) |  |  |" in text


def test_pictures_are_reproducible(tmp_path: Path) -> None:
    """Small SVG files."""
    small = [replace(plan, pods=20) for plan in plans.rollout()[:3]]
    first, second = tmp_path / "one.svg", tmp_path / "two.svg"
    for file in (first, second):
        plots.rollout(small, file)
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) < 60_000
    steady = tmp_path / "steady.svg"
    plots.steady(some("steady"), steady)
    assert "with a store, 10 institutions" in steady.read_text(encoding="utf-8")


def test_command_runs_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of one group is put into the page."""
    page = tmp_path / "page.md"
    page.write_text(f"before {place('wake').opening} old {place('wake').closing} after")
    monkeypatch.setattr(fleet, "FOLDER", tmp_path / "build")
    monkeypatch.setattr(fleet, "PICTURES", tmp_path / "images")
    monkeypatch.setattr(fleet, "PAGE", page)
    monkeypatch.setattr(plans, "SIZES", (10_000,))
    small = Plan("wake-paced", pods=1, institutions=5, asleep=(5000, 9000), watched=(9000, 9900))
    monkeypatch.setitem(GROUPS, "wake", lambda: [small])
    monkeypatch.setattr(plots, "rollout", lambda _plans, file: file.parent.mkdir())
    assert fleet.main(["--groups", "wake", "--write"]) == 0
    assert "| last token after | worst second | refused |" in page.read_text()
    with pytest.raises(SystemExit):
        fleet.main(["--groups", "unknown"])


def test_page_has_every_table() -> None:
    """Of the current plans, with the machine."""
    page = PAGE.read_text(encoding="utf-8")
    for group in GROUPS:
        shown = place(group).read(page)
        rows = re.findall(r"^\|.*\|$", shown, re.MULTILINE)
        assert len(rows) == markdown(group, some(group), {}).count("\n") + 1, group
    assert re.search(r"Measured on \d{4}-\d\d-\d\d; .*Python", place("real").read(page))
