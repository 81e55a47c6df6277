"""The dashboard follows Grafana's dashboard-linter and this project's rules.

test_live.py runs its queries on a real Prometheus.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.observability.panels import FLEET, filled, panels, rows
from tests.observability.performance import DEPLOY
from tools.dashboard import text, whole

FILE = DEPLOY.parent / "grafana/dashboard.json"
PANELS = list(panels(whole()))
UNITS = {"short", "percentunit", "s", "bytes", "Bps", "reqps", "opm", "cps"}
"""Those of Grafana's units that we use."""

ACROSS_INSTANCES = {"How fast is the error budget spent?", "Which alerts fire?"}
"""Panels about promises and alerts, which are of all proxies of a job and have no instance."""

_SELECTOR = re.compile(r"([a-zA-Z_:]+)\{([^}]*)\}")
_RANGE = re.compile(r"\[([^\]]+)\]")


def selectors() -> Iterator[tuple[dict[str, Any], str, str]]:
    """Return every selector of every query: panel, metric, matchers."""
    for panel in PANELS:
        for target in panel["targets"]:
            for metric, inner in _SELECTOR.findall(target["expr"]):
                yield panel, metric, inner


def variable(name: str) -> dict[str, Any]:
    """Return a variable of the dashboard."""
    (found,) = (one for one in whole()["templating"]["list"] if one["name"] == name)
    return dict(found)


def test_file_is_up_to_date() -> None:
    """`make charts` would change nothing."""
    assert FILE.read_text(encoding="utf-8") == text()


def test_titles_are_questions() -> None:
    """The three main ones are there."""
    titles = [panel["title"] for panel in PANELS]
    assert {
        "Will requests fail soon?",
        "Whose errors?",
        "What does the proxy add?",
    } <= set(titles)
    assert [title for title in titles if not title.endswith("?")] == []
    assert len(set(titles)) == len(titles)


def test_rows() -> None:
    """From the current state to single proxies."""
    assert [title for title, _ in rows(whole())] == [
        "Now",
        "Requests",
        "Time",
        "Tokens",
        "Who fetches?",
        "Room",
        "Changes",
        "$instance only",
    ]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_has_description_unit_and_legend(panel: dict[str, Any]) -> None:
    """With a unit of Grafana's."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])
    assert [target["refId"] for target in panel["targets"]] == sorted(
        {target["refId"] for target in panel["targets"]}
    )


def test_datasource_is_a_variable() -> None:
    """template-datasource-rule, panel-datasource-rule."""
    source = variable("datasource")
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert source["label"] == "Data source"
    users = [*PANELS, *(target for panel in PANELS for target in panel["targets"])]
    users += [one for one in whole()["templating"]["list"] if one["type"] == "query"]
    assert {user["datasource"]["uid"] for user in users} == {"${datasource}"}


@pytest.mark.parametrize("name", ["job", "instance"])
def test_job_and_instance_are_variables(name: str) -> None:
    """template-job-rule, template-instance-rule: several or all."""
    found = variable(name)
    assert (found["type"], found["label"]) == ("query", name.title())
    assert (found["multi"], found["includeAll"], found["allValue"]) == (True, True, ".+")


def test_variables() -> None:
    """Fleet, instance, institution and kind, refreshed with the time range."""
    found = [one["name"] for one in whole()["templating"]["list"]]
    assert found == ["datasource", "namespace", "job", "instance", "institution", "kind"]
    queries = [one for one in whole()["templating"]["list"] if one["type"] == "query"]
    assert {one["refresh"] for one in queries} == {2}


def test_every_query_selects_the_chosen_proxies() -> None:
    """target-job-rule, target-instance-rule; namespaces too."""
    seen = 0
    for panel, metric, inner in selectors():
        if metric == "slo:candescent_proxy_objective:ratio":
            continue
        seen += 1
        assert 'namespace=~"$namespace",job=~"$job"' in inner
        if panel["title"] not in ACROSS_INSTANCES:
            assert 'instance=~"$instance"' in inner
    assert seen > 50


def test_queries_by_institution_follow_the_variables() -> None:
    """Institution and kind."""
    for panel, metric, inner in selectors():
        if metric.startswith(("candescent_proxy_institution_", "candescent_proxy_token_")):
            has_institution = "duration" not in metric and "token_wait" not in metric
            assert ('institution=~"$institution"' in inner) == has_institution, panel["title"]
        if metric.startswith("candescent_proxy_token_") and "institution" in inner:
            assert 'kind=~"$kind"' in inner


def test_ranges_are_the_rate_interval() -> None:
    """target-rate-interval-rule."""
    ranges = {
        found
        for panel in PANELS
        for target in panel["targets"]
        for found in _RANGE.findall(target["expr"])
    }
    assert ranges == {"$__rate_interval"}


def test_counters_are_rates() -> None:
    """target-counter-agg-rule; histograms too."""
    counters = r"(\w+(?:_total|_bucket|_sum|_count))\{"
    for panel in PANELS:
        for target in panel["targets"]:
            expr = target["expr"]
            for found in re.finditer(counters, expr):
                assert expr[: found.start()].endswith("rate("), panel["title"]


def test_quantiles_keep_their_buckets() -> None:
    """target-histogram-rule."""
    for panel in PANELS:
        for target in panel["targets"]:
            assert target["expr"].count("histogram_quantile") == len(
                re.findall(r"histogram_quantile\([\d.]+, sum by \([^)]*\ble\)", target["expr"])
            )


def test_every_variable_in_a_query_exists() -> None:
    """None is left unreplaced."""
    for panel in PANELS:
        for target in panel["targets"]:
            filled(target["expr"], {**FLEET, "__rate_interval": "5m"})


def test_dashboard_is_not_editable() -> None:
    """uneditable-dashboard: it comes from a file."""
    assert whole()["editable"] is False


def test_panels_do_not_overlap() -> None:
    """Each is within the grid and has its own id."""
    top = list(whole()["panels"])
    ids = [
        panel["id"] for panel in [*top, *(inner for one in top for inner in one.get("panels", []))]
    ]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in top):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_json_has_no_nulls() -> None:
    """Except the first step of thresholds."""
    read = json.loads(FILE.read_text(encoding="utf-8"))
    assert read["schemaVersion"] >= 36
    for panel in panels(read):
        first, *more = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert first["value"] is None
        assert [step["value"] for step in more] == sorted(step["value"] for step in more)
