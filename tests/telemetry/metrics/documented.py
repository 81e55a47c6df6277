"""The metrics documented in docs/metrics.md."""

import re
from dataclasses import dataclass, field
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class DocumentedMetric:
    """A metric: its type, label names and unit."""

    type: str
    labels: frozenset[str]
    unit: str = field(default="", compare=False)


def metrics(page: str = PAGE) -> dict[str, DocumentedMetric]:
    """Return the documented metrics by name; a counter's name ends in ``_total``."""
    found = {}
    for name, kind, unit, labels in re.findall(
        r"^\| `(candescent_proxy_\w+)` \| (\w+)(?:, ([^|]+))? \|([^|]*)\|[^|]+\|$",
        page,
        re.MULTILINE,
    ):
        assert name not in found, f"{name} is there twice"
        found[name] = DocumentedMetric(kind, frozenset(re.findall(r"`(\w+)`", labels)), unit)
    return found


def label_values(label: str, page: str = PAGE) -> set[str]:
    """Return the documented values of a label."""
    (line,) = re.findall(rf"^\| {re.escape(label)} \| (.*) \|$", page, re.MULTILINE)
    return set(re.findall(r"`([\w.]+)`", line))
