"""Rules with shorter durations."""

import re

from tests.observability.faster import faster, shorter
from tests.observability.performance import rules


def test_durations_are_divided() -> None:
    """Ranges, offsets and `for`; nothing else changes."""
    rule = {
        "alert": "A",
        "expr": 'rate(a_rate5m{window="1h"}[5m]) > 300 unless b offset 10m > 2 * 86400',
        "for": "2m",
        "labels": {"window": "1h"},
    }
    (group,) = faster({"groups": [{"name": "one", "rules": [rule]}]}, 60)["groups"]
    (made,) = group["rules"]
    assert made == rule | {
        "expr": ('rate(a_rate5m{window="1h"}[5000ms]) > 300 unless b offset 10000ms > 2 * 86400'),
        "for": "2000ms",
    }


def test_every_duration_of_our_rules_is_divided() -> None:
    """None is missed."""
    for group in faster(rules())["groups"]:
        for rule in group["rules"]:
            ranges = re.findall(r"\[(\d\w*)\]|offset (\S+)", rule["expr"])
            assert all("".join(found).endswith("ms") for found in ranges)
            assert rule.get("for", "0ms").endswith("ms")


def test_units() -> None:
    """Seconds, minutes, hours, days."""
    assert [shorter(text, 60) for text in ("30s", "5m", "1h", "3d")] == [
        *("500ms", "5000ms", "60000ms", "4320000ms"),
    ]
