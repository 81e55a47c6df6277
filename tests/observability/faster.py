"""Divides the durations of alert rules, so that tests take seconds instead of minutes.

Only ``for``, ranges and offsets change, not the thresholds.
"""

import re
from typing import Any

FACTOR = 60
"""The divisor: a minute becomes a second."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])\b")


def faster(rules: dict[str, Any], factor: int = FACTOR) -> dict[str, Any]:
    """Return a document of rules with all durations divided by ``factor``."""
    return {"groups": [_group(group, factor) for group in rules["groups"]]}


def _group(group: dict[str, Any], factor: int) -> dict[str, Any]:
    return group | {"rules": [_rule(rule, factor) for rule in group["rules"]]}


def _rule(rule: dict[str, Any], factor: int) -> dict[str, Any]:
    made = rule | {"expr": _DURATION.sub(lambda found: _shorter(found, factor), rule["expr"])}
    if "for" in rule:
        made["for"] = shorter(rule["for"], factor)
    return made


def _shorter(found: re.Match[str], factor: int) -> str:
    return shorter("".join(part for part in found.groups() if part), factor)


def shorter(duration: str, factor: int) -> str:
    """Return a duration such as ``5m`` divided, in milliseconds."""
    return f"{int(duration[:-1]) * _UNITS[duration[-1]] * 1000 // factor}ms"
