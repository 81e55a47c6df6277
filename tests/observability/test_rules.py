"""Alert rules: promtool, their cases, and required fields."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.cases import alerts, promtool
from tests.observability.performance import DEPLOY, rules
from tests.support.needs import program

HERE = Path(__file__).parent
ROOT = DEPLOY.parents[1]
RULES = DEPLOY / "rules.yaml"
BUDGETS = {"candescent-proxy-promises", "candescent-proxy-budgets"}
SEVERITIES = {"critical", "warning", "info"}
_METRIC = re.compile(r"\b(up\b|slo:candescent\w+:\w+|[a-z_]*:?candescent_proxy\w+(?::\w+)?)")


def cases() -> list[dict[str, Any]]:
    """Return the cases; scalars are text, because ``0x10`` means ten zeros."""
    text = (HERE / "cases.yaml").read_text(encoding="utf-8")
    return list(yaml.load(text, yaml.BaseLoader))  # noqa: S506 - a loader that makes texts only


def run(*command: str | Path) -> str:
    """Run a program that must succeed; return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_lint_is_clean() -> None:
    """The rules are well-formed."""
    said = run(program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert "SUCCESS" in said


def test_amtool_accepts_the_configuration() -> None:
    """The example for Alertmanager."""
    said = run(program("amtool"), "check-config", DEPLOY / "alertmanager.yaml")
    assert "SUCCESS" in said


@pytest.mark.parametrize("about_budgets", [True, False], ids=["budgets", "others"])
def test_cases_of_alerts(tmp_path: Path, about_budgets: bool) -> None:
    """Each fires or not as ``cases.yaml`` says, with labels and text."""
    # Separately, because promtool evaluates every rule of a file for every case.
    groups = [one for one in rules()["groups"] if (one["name"] in BUDGETS) == about_budgets]
    part = {"groups": groups}
    names = {rule["alert"] for rule in alerts(part)}
    tried = [about for about in cases() if about["alert"] in names]
    document = promtool(tried, part, "rules.yaml")
    for name, content in {"rules": part, "cases": document}.items():
        text = yaml.safe_dump(content, sort_keys=False)
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    said = run(program("promtool"), "test", "rules", tmp_path / "cases.yaml")
    assert "SUCCESS" in said


def test_every_alert_has_positive_and_negative_cases() -> None:
    """For each severity."""
    tried = {about["alert"]: about for about in cases()}
    assert {rule["alert"] for rule in alerts(rules())} == tried.keys()
    assert all(about["fires"] and about["quiet"] for about in tried.values())
    fired = {
        (about["alert"], case["labels"]["severity"], case["labels"].get("window"))
        for about in tried.values()
        for case in about["fires"]
    }
    assert fired == {
        (rule["alert"], rule["labels"]["severity"], rule["labels"].get("window"))
        for rule in alerts(rules())
    }


@pytest.mark.parametrize("rule", [*alerts(rules())], ids=lambda rule: rule["alert"])
def test_alert_has_its_fields(rule: dict[str, Any]) -> None:
    """Severity, summary, description and an existing runbook."""
    assert rule["labels"]["severity"] in SEVERITIES
    said = rule["annotations"]
    assert said["summary"].endswith(".")
    assert "$labels" in said["description"] or rule["expr"].startswith("absent")
    assert said["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    assert (ROOT / said["runbook_url"]).is_file()


def test_callers_errors_are_informational() -> None:
    """They are not pages."""
    (rule,) = (rule for rule in alerts(rules()) if rule["alert"] == "CandescentProxyCallerErrors")
    assert rule["labels"]["severity"] == "info"


def test_every_selector_has_braces() -> None:
    """The chart inserts labels there."""
    for group in rules()["groups"]:
        for rule in group["rules"]:
            expr = re.sub(r'"[^"]*"', '""', rule["expr"])
            for found in _METRIC.finditer(expr):
                assert expr[found.end()] == "{", expr
