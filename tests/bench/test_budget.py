"""The budget of calls per request."""

from pathlib import Path

import pytest

from bench import budget
from bench.budget import complaints

BUDGET = {"python_calls": 100.0, "c_calls": 50.0, "blocks": 200.0}
CLEAN = {"kept_blocks": 0.0, "circular_objects": 0.0}


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, []),
        ({"python_calls": 102.9}, []),
        ({"python_calls": 80.0, "blocks": 150.0}, []),
        ({"python_calls": 104.0}, ["104.00 python_calls instead of 100.00 (+4.0%)"]),
        ({"blocks": 220.0}, ["220.00 blocks instead of 200.00 (+10.0%)"]),
        ({"kept_blocks": 1.0}, ["1.00 kept_blocks left behind each request"]),
        ({"circular_objects": 3.0}, ["3.00 circular_objects left behind each request"]),
    ],
)
def test_increase_is_named(counts: dict[str, float], said: list[str]) -> None:
    """Beyond three in a hundred, with both figures; leftovers too."""
    reported = complaints("get", BUDGET | CLEAN | counts, BUDGET, 0.03)
    assert [text.removeprefix("get: ") for text in reported] == said


def test_budget_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Python has its own section."""
    file = tmp_path / "budget.toml"
    for version, more in (("3.11", 0.0), ("3.12", 1.0)):
        monkeypatch.setattr(budget, "version", lambda version=version: version)
        counts = {name: number + more for name, number in BUDGET.items()}
        budget.write({"get": counts | CLEAN}, file)
    assert budget.allowed(file) == (
        {"get": {name: number + 1 for name, number in BUDGET.items()}},
        budget.TOLERANCE,
    )
    monkeypatch.setattr(budget, "version", lambda: "3.11")
    assert budget.allowed(file) == ({"get": BUDGET}, budget.TOLERANCE)


def test_unknown_python_is_compared_with_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more tolerance; 3.11 is newer than 3.9."""
    file = tmp_path / "budget.toml"
    file.write_text(budget.written({"3.9": {"get": {}}, "3.11": {"get": BUDGET}}))
    monkeypatch.setattr(budget, "version", lambda: "3.99")
    assert budget.allowed(file) == ({"get": BUDGET}, budget.STRANGE)
