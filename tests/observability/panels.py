"""PURE: the dashboard's panels and queries, as Grafana would send them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

FLEET = {"namespace": ".*", "job": ".+", "instance": ".+", "institution": ".+", "kind": ".+"}
"""The variables where "All" is chosen for each."""


@dataclass(frozen=True)
class PanelQuery:
    """A query of a panel, with every variable filled in."""

    panel: Json
    expr: str
    legend: str

    @property
    def title(self) -> str:
        """What the panel asks."""
        return str(self.panel["title"])

    def name(self, labels: Mapping[str, str]) -> str:
        """Return what the line with these labels is called."""
        return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), self.legend)


def panels(dashboard: Json) -> Iterator[Json]:
    """Return every panel that shows something, those in folded rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def rows(dashboard: Json) -> Iterator[tuple[str, list[Json]]]:
    """Return the headings, each with its panels."""
    title, below = "", []
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            below.append(panel)
            continue
        if below:
            yield title, below
        title, below = panel["title"], list(panel["panels"])
    yield title, below


def panel_queries(panel: Json, variables: Mapping[str, str], interval: str) -> Iterator[PanelQuery]:
    """Return the queries of a panel; ``interval`` is what ``$__rate_interval`` is."""
    for target in panel["targets"]:
        expr = filled(target["expr"], {**variables, "__rate_interval": interval})
        yield PanelQuery(panel, expr, target["legendFormat"])


def filled(expr: str, variables: Mapping[str, str]) -> str:
    """Return an expression with its variables filled in. Raises ``KeyError`` for an unknown one."""
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], expr)
