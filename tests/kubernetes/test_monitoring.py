"""PrometheusRule and dashboard of the gateway chart."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.commands import GATEWAY, ROOT, Object, only, output, refusal, render
from tests.kubernetes.merging import merged
from tests.kubernetes.rules import broken
from tests.kubernetes.variants import LEAST, OPERATOR
from tests.support.needs import program
from tools.charts import DASHBOARD, RULES


def rendered(**rules: Any) -> list[Object]:
    """Return the objects with rules and dashboard enabled."""
    on = {"rules": {"enabled": True, **rules}, "dashboard": {"enabled": True}}
    values = merged(LEAST, {"metrics": {**on, "labels": {"release": "prometheus"}}})
    return render(GATEWAY, values, *OPERATOR)


def each(objects: list[Object]) -> Iterator[dict[str, Any]]:
    """Return every rule of the PrometheusRule."""
    for group in only(objects, "PrometheusRule")["spec"]["groups"]:
        yield from group["rules"]


def alerts(objects: list[Object]) -> set[str]:
    """Return the names of its alerts."""
    return {rule["alert"] for rule in each(objects) if "alert" in rule}


SOURCE = yaml.safe_load(RULES.read_text(encoding="utf-8"))


def test_rules_are_those_of_the_file() -> None:
    """Without a namespace they equal deploy/prometheus/rules.yaml."""
    spec = only(rendered(namespace="*"), "PrometheusRule")["spec"]
    for group in SOURCE["groups"]:
        for rule in group["rules"]:
            rule.setdefault("labels", {})
    without = [
        {**group, "rules": [{"labels": {}, **rule} for rule in group["rules"]]}
        for group in spec["groups"]
    ]
    assert without == SOURCE["groups"]


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"namespace": "*", "matchers": {"cluster": 'a"\\$1'}},
        {"severities": ["critical"], "labels": {"team": "payments"}},
    ],
    ids=["of the release", "of a cluster", "for the night"],
)
def test_promtool_accepts_the_rules(rules: dict[str, Any], tmp_path: Path) -> None:
    """With any selection."""
    objects = rendered(**rules)
    assert broken(objects) == []
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(only(objects, "PrometheusRule")["spec"]), encoding="utf-8")
    promtool = program("promtool")
    assert "SUCCESS" in output(promtool, "check", "rules", "--lint=all", "--lint-fatal", file)


def test_rules_select_the_release() -> None:
    """By namespace and labels."""
    objects = rendered(matchers={"cluster": "east"})
    for rule in each(objects):
        selectors = rule["expr"].count("{")
        assert rule["expr"].count('{cluster="east",namespace="default",') == selectors
        assert rule["labels"].items() >= {"cluster": "east", "namespace": "default"}.items()
    assert only(objects, "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"


def test_alerts_are_selected_by_severity_and_name() -> None:
    """Recording rules stay for the dashboard."""
    everything, night = rendered(), rendered(severities=["critical"])
    assert alerts(night) < alerts(everything)
    assert "CandescentProxyDown" in alerts(night)
    assert "CandescentProxyThrottled" not in alerts(night)
    some = rendered(without=["CandescentProxyCallerErrors"])
    assert alerts(everything) - alerts(some) == {"CandescentProxyCallerErrors"}
    records = [{rule["record"] for rule in each(one) if "record" in rule} for one in (night, some)]
    assert records[0] == records[1] != set()


def test_labels_and_runbook_urls_are_configurable() -> None:
    """For each alert."""
    for rule in each(rendered(labels={"team": "payments"}, runbooks="https://wiki.test/proxy/")):
        if "alert" in rule:
            assert rule["labels"]["team"] == "payments"
            page = f"docs/runbooks/{rule['alert']}.md"
            assert rule["annotations"]["runbook_url"] == f"https://wiki.test/proxy/{page}"


def test_unknown_alert_is_refused() -> None:
    """In the list of disabled alerts."""
    values = {"metrics": {"rules": {"enabled": True, "without": ["CandescentProxyDowm"]}}}
    words = "\n  - metrics.rules.without: there is no alert CandescentProxyDowm; files/rules.yaml"
    assert words in refusal(GATEWAY, merged(LEAST, values), *OPERATOR)


def test_dashboard_is_the_file() -> None:
    """Braces and dollars included."""
    config = only(rendered(), "ConfigMap", "app-candescent-proxy-dash")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    shown = json.loads(config["data"]["candescent-proxy.json"])
    assert shown == json.loads(DASHBOARD.read_text(encoding="utf-8"))


def test_chart_has_the_files_of_deploy() -> None:
    """`make charts` copies them."""
    assert (GATEWAY / "files/rules.yaml").read_bytes() == RULES.read_bytes()
    assert (GATEWAY / "files/dashboard.json").read_bytes() == DASHBOARD.read_bytes()
    assert ROOT / "deploy" in RULES.parents
