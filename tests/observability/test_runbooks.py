"""A page for every alert, each laid out alike, so that it can be read at three in the morning."""

import re
from pathlib import Path

import pytest

from tests.observability.cases import alerts
from tests.observability.performance import DEPLOY, rules

RUNBOOKS = DEPLOY.parents[1] / "docs/runbooks"
PAGES = sorted(RUNBOOKS.glob("Candescent*.md"))
PARTS = ["What it means", "Impact", "How to check", "What to do"]


def severities(name: str) -> list[str]:
    """Return the severities that an alert has, the first one first."""
    found = [rule["labels"]["severity"] for rule in alerts(rules()) if rule["alert"] == name]
    return list(dict.fromkeys(found))


def test_every_page_is_of_an_alert() -> None:
    """A page whose alert has gone leads nobody anywhere."""
    assert {page.stem for page in PAGES} == {rule["alert"] for rule in alerts(rules())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_its_parts(page: Path) -> None:
    """Title, severity, what it means, impact, how to check, what to do, in this order."""
    text = page.read_text(encoding="utf-8")
    title, severity = re.findall(r"\A# (\w+)\n\nSeverity: ([^.]+)\.\n", text)[0]
    assert title == page.stem
    assert all(word in severity for word in severities(page.stem))
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    assert text.count("\n- ") >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_overview_has_the_page(page: Path) -> None:
    """The table in README.md has the alert with all of its severities."""
    rows = (RUNBOOKS / "README.md").read_text(encoding="utf-8").splitlines()
    (row,) = (row for row in rows if row.startswith(f"| [{page.stem}]({page.name}) |"))
    assert set(row.split("|")[2].strip().split(", ")) == set(severities(page.stem))
