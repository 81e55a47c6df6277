"""Rules, dashboard, runbooks and cases use existing metrics."""

import json
import re
from pathlib import Path

import pytest

from tests.observability.performance import DEPLOY, rules
from tools.dashboard import whole

ROOT = DEPLOY.parents[1]
METRICS = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
DOCUMENTED = set(re.findall(r"^\| `(candescent_proxy_\w+)` \|", METRICS, re.MULTILINE))
# Recorded series contain a colon; label_values and prose may end in an underscore.
_METRIC = re.compile(r"(?<![\w:])candescent_proxy_\w*[a-z](?![\w:*])")


def unknown(text: str) -> set[str]:
    """Return the metrics in a text that docs/metrics.md does not have."""
    found = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _METRIC.findall(text)}
    assert found, "no metric was found"
    return found - DOCUMENTED


def test_rules() -> None:
    """Every expression."""
    assert unknown(json.dumps([group["rules"] for group in rules()["groups"]])) == set()


def test_dashboard() -> None:
    """Every query and variable."""
    assert unknown(json.dumps(whole())) == set()


@pytest.mark.parametrize(
    "page",
    [*sorted((ROOT / "docs/runbooks").glob("*.md")), Path(__file__).with_name("cases.yaml")],
    ids=lambda page: page.stem,
)
def test_pages(page: Path) -> None:
    """Runbooks, and the cases for promtool."""
    text = page.read_text(encoding="utf-8")
    assert not _METRIC.search(text) or unknown(text) == set()
