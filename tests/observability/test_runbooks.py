"""Runbooks: one for every alert, with the same sections."""

import re
from pathlib import Path

import pytest

from tests.observability.cases import alerts
from tests.observability.performance import DEPLOY, rules

RUNBOOKS = DEPLOY.parents[1] / "docs/runbooks"
PAGES = sorted(RUNBOOKS.glob("Candescent*.md"))
PARTS = ["What it means", "Impact", "How to check", "What to do"]


def severities(name: str) -> list[str]:
    """Return the severities of an alert in order."""
    found = [rule["labels"]["severity"] for rule in alerts(rules()) if rule["alert"] == name]
    return list(dict.fromkeys(found))


def test_every_page_has_an_alert() -> None:
    """And every alert its page."""
    assert {page.stem for page in PAGES} == {rule["alert"] for rule in alerts(rules())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_its_sections(page: Path) -> None:
    """Title, severity, meaning, impact, checks, actions, in order."""
    text = page.read_text(encoding="utf-8")
    title, severity = re.findall(r"\A# (\w+)\n\nSeverity: ([^.]+)\.\n", text)[0]
    assert title == page.stem
    assert all(word in severity for word in severities(page.stem))
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    assert text.count("\n- ") >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_overview_has_the_page(page: Path) -> None:
    """README.md lists it with all severities."""
    rows = (RUNBOOKS / "README.md").read_text(encoding="utf-8").splitlines()
    (row,) = (row for row in rows if row.startswith(f"| [{page.stem}]({page.name}) |"))
    assert set(row.split("|")[2].strip().split(", ")) == set(severities(page.stem))
