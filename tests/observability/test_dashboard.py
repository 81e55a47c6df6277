"""The dashboard is laid out as Grafana's own dashboard-linter asks for, and as we do.

Whether its queries return anything is asked of a real Prometheus in test_live.py.
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
    """Return every selector of every query: its panel, its metric, and what is in its braces."""
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


def test_the_three_questions_are_titles() -> None:
    """They are there by name; and every other title is a question too."""
    titles = [panel["title"] for panel in PANELS]
    assert {
        "Will requests fail soon?",
        "Whose errors?",
        "What does the proxy add?",
    } <= set(titles)
    assert [title for title in titles if not title.endswith("?")] == []
    assert len(set(titles)) == len(titles)


def test_rows() -> None:
    """From what matters now down to one proxy by itself."""
    assert [title for title, _ in rows(whole())] == [
        "Now",
        "Requests",
        "Time",
        "Tokens",
        "Who fetches?",
        "Room",
        "Changes",
        "$instance by itself",
    ]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """A description in sentences, a unit of Grafana's, queries with names for their lines."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])
    assert [target["refId"] for target in panel["targets"]] == sorted(
        {target["refId"] for target in panel["targets"]}
    )


def test_datasource_is_a_variable() -> None:
    """template-datasource-rule, panel-datasource-rule: none is named anywhere."""
    source = variable("datasource")
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert source["label"] == "Data source"
    users = [*PANELS, *(target for panel in PANELS for target in panel["targets"])]
    users += [one for one in whole()["templating"]["list"] if one["type"] == "query"]
    assert {user["datasource"]["uid"] for user in users} == {"${datasource}"}


@pytest.mark.parametrize("name", ["job", "instance"])
def test_job_and_instance_are_variables(name: str) -> None:
    """template-job-rule, template-instance-rule: several or all can be chosen."""
    found = variable(name)
    assert (found["type"], found["label"]) == ("query", name.title())
    assert (found["multi"], found["includeAll"], found["allValue"]) == (True, True, ".+")


def test_variables() -> None:
    """Fleet and instance, institution and kind, each looked up anew when the time changes."""
    found = [one["name"] for one in whole()["templating"]["list"]]
    assert found == ["datasource", "namespace", "job", "instance", "institution", "kind"]
    queries = [one for one in whole()["templating"]["list"] if one["type"] == "query"]
    assert {one["refresh"] for one in queries} == {2}


def test_every_query_is_about_the_chosen_proxies() -> None:
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


def test_metrics_by_institution_follow_the_choice() -> None:
    """Where series have an institution or a kind, the choice of them counts."""
    for panel, metric, inner in selectors():
        if metric.startswith(("candescent_proxy_institution_", "candescent_proxy_token_")):
            has_institution = "duration" not in metric and "token_wait" not in metric
            assert ('institution=~"$institution"' in inner) == has_institution, panel["title"]
        if metric.startswith("candescent_proxy_token_") and "institution" in inner:
            assert 'kind=~"$kind"' in inner


def test_ranges_are_the_rate_interval() -> None:
    """target-rate-interval-rule: what Grafana works out from resolution and scrape interval."""
    ranges = {
        found
        for panel in PANELS
        for target in panel["targets"]
        for found in _RANGE.findall(target["expr"])
    }
    assert ranges == {"$__rate_interval"}


def test_counters_are_rates() -> None:
    """target-counter-agg-rule: a counter by itself says nothing, nor do a histogram's parts."""
    counters = r"(\w+(?:_total|_bucket|_sum|_count))\{"
    for panel in PANELS:
        for target in panel["targets"]:
            expr = target["expr"]
            for found in re.finditer(counters, expr):
                assert expr[: found.start()].endswith("rate("), panel["title"]


def test_quantiles_keep_their_buckets() -> None:
    """target-histogram-rule: a quantile is of sums by le."""
    for panel in PANELS:
        for target in panel["targets"]:
            assert target["expr"].count("histogram_quantile") == len(
                re.findall(r"histogram_quantile\([\d.]+, sum by \([^)]*\ble\)", target["expr"])
            )


def test_every_variable_in_a_query_is_one() -> None:
    """Nothing is left that Grafana would send as it stands."""
    for panel in PANELS:
        for target in panel["targets"]:
            filled(target["expr"], {**FLEET, "__rate_interval": "5m"})


def test_nobody_edits_it_in_place() -> None:
    """uneditable-dashboard: it comes from a file, and a change would be lost."""
    assert whole()["editable"] is False


def test_panels_stand_side_by_side() -> None:
    """None covers another, none leaves the page, and each has a number of its own."""
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


def test_it_is_json_that_grafana_reads() -> None:
    """The file has the one shape; nothing in it is unset, but for the first step of thresholds."""
    read = json.loads(FILE.read_text(encoding="utf-8"))
    assert read["schemaVersion"] >= 36
    for panel in panels(read):
        first, *more = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert first["value"] is None
        assert [step["value"] for step in more] == sorted(step["value"] for step in more)
