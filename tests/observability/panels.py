"""The dashboard's panels and queries, as Grafana sends them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

FLEET = {"namespace": ".*", "job": ".+", "instance": ".+", "institution": ".+", "kind": ".+"}
"""The variables with "All" selected for each."""


@dataclass(frozen=True)
class PanelQuery:
    """A query of a panel, with its variables replaced."""

    panel: Json
    expr: str
    legend: str

    @property
    def title(self) -> str:
        """The title of the panel."""
        return str(self.panel["title"])

    def name(self, labels: Mapping[str, str]) -> str:
        """Return the name of the line with these labels."""
        return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), self.legend)


def panels(dashboard: Json) -> Iterator[Json]:
    """Return all panels with queries, those of folded rows included."""
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
    """Return an expression with its variables replaced. Raises ``KeyError`` for an unknown one."""
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], expr)
