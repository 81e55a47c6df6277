"""Converts ``cases.yaml`` to a file for ``promtool test rules``.

A case of an alert has the fields *when*, *series* (the samples of each minute), *at* (the time of
evaluation), *labels* of the firing alert, and *says* (its text). Without labels the alert must not
fire. All series have the same instance unless they name another; an alert has those of their labels
that ``about`` names.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

WHOSE = {"namespace": "bank", "job": "candescent-proxy", "instance": "a:9090"}

Json = dict[str, Any]


def promtool(cases: list[Json], rules: Json, file: str) -> Json:
    """Return the test of ``file``, which has ``rules``."""
    summaries = {
        rule["alert"]: rule["annotations"]["summary"] for rule in alerts(rules) if "alert" in rule
    }
    return {
        "rule_files": [file],
        "evaluation_interval": "1m",
        "tests": [
            _test(about, case, summaries[about["alert"]])
            for about in cases
            for case in (*about["fires"], *about["quiet"])
        ],
    }


def alerts(rules: Json) -> Iterator[Json]:
    """Return every alert in a document of rules."""
    for group in rules["groups"]:
        yield from (rule for rule in group["rules"] if "alert" in rule)


def _test(about: Json, case: Json, summary: str) -> Json:
    name = about["alert"]
    expected = [_alert(name, about["about"], case, summary)] if "says" in case else []
    return {
        "name": f"{name}: {case['when']}",
        "interval": "1m",
        "input_series": [
            {"series": _whose(series), "values": str(values)}
            for series, values in case["series"].items()
        ],
        "alert_rule_test": [{"eval_time": case["at"], "alertname": name, "exp_alerts": expected}],
    }


def _alert(name: str, about: list[str], case: Json, summary: str) -> Json:
    labels = {label: WHOSE[label] for label in about} | case["labels"]
    return {
        "exp_labels": labels,
        "exp_annotations": {
            "summary": filled(summary, labels),
            "description": " ".join(case["says"].split()),
            "runbook_url": f"docs/runbooks/{name}.md",
        },
    }


def filled(text: str, labels: Mapping[str, str]) -> str:
    """Return a text with its ``{{ $labels.x }}`` replaced."""
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)


def _whose(series: str) -> str:
    """Return a series with the default labels that it does not set."""
    name, brace, own = series.partition("{")
    own = own.removesuffix("}") if brace else ""
    more = [f'{label}="{value}"' for label, value in WHOSE.items() if f"{label}=" not in own]
    return f"{name}{{{','.join([*more, *([own] if own else [])])}}}"
