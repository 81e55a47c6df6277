"""Grafana's JSON, as far as our dashboard needs it: rows, panels, queries, variables.

A panel has a question as its title, a description of how to read it, and a
unit. Its position is computed here, from left to right on a grid of 24 columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
SCHEMA = 39
"""The version of Grafana's dashboard schema; Grafana 10.4 and later support it."""

Kind = Literal["stat", "timeseries", "table"]

GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "#8e8e8e"


@dataclass(frozen=True)
class Query:
    """One PromQL query of a panel. ``legend`` is the name of its lines: ``{{kind}}``.

    ``instant`` queries the current value only, for tables and single numbers.
    """

    expr: str
    legend: str
    instant: bool = False

    def json(self, ref: str) -> Json:
        """Return a Grafana target; ``ref`` is its letter."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": "time_series",
            "instant": self.instant,
            "legendFormat": self.legend,
            "range": not self.instant,
            "refId": ref,
        }


@dataclass(frozen=True)
class Panel:
    """One panel and its queries.

    ``steps`` are colours by lower bound, ascending; the first bound is not used.
    ``colours`` sets colours of lines by name; ``most`` is the top of the scale, ``columns``
    are the labels that a table shows, in their order.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    decimals: int | None = None
    most: float | None = None
    steps: Sequence[tuple[float, str]] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """Return the panel at a position."""
        targets = [
            query.json(chr(ord("A") + place)) | ({"format": "table"} if self.is_table else {})
            for place, query in enumerate(self.queries)
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": targets,
            "fieldConfig": {"defaults": self._defaults(), "overrides": list(self._overrides())},
            "options": self._options(),
            "transformations": self._transformations(),
        }

    @property
    def is_table(self) -> bool:
        """Whether it shows labels and values in rows."""
        return self.kind == "table"

    def _defaults(self) -> Json:
        steps = self.steps or [(0, GREEN if self.kind == "stat" else BLUE)]
        made: Json = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.kind == "stat" else "palette-classic"},
            "thresholds": {
                "mode": "absolute",
                "steps": [
                    {"color": colour, "value": value if place else None}
                    for place, (value, colour) in enumerate(steps)
                ],
            },
        }
        if self.kind != "stat":
            made["min"] = 0
        if self.most is not None:
            made["max"] = self.most
        if self.decimals is not None:
            made["decimals"] = self.decimals
        if self.kind == "timeseries":
            made["custom"] = {
                "drawStyle": "line",
                "fillOpacity": 30 if self.stacked else 8,
                "lineWidth": 1,
                "showPoints": "never",
                "stacking": {"group": "A", "mode": "normal" if self.stacked else "none"},
                "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
            }
        return made

    def _overrides(self) -> Iterator[Json]:
        for name, colour in self.colours.items():
            yield {
                "matcher": {"id": "byName", "options": name},
                "properties": [
                    {"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}},
                ],
            }

    def _options(self) -> Json:
        match self.kind:
            case "stat":
                return {
                    "colorMode": "background",
                    "graphMode": "area",
                    "justifyMode": "auto",
                    "orientation": "auto",
                    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                    "textMode": "auto",
                }
            case "timeseries":
                return {
                    "legend": {
                        "calcs": ["lastNotNull", "max"],
                        "displayMode": "table",
                        "placement": "bottom",
                        "showLegend": True,
                    },
                    "tooltip": {"mode": "multi", "sort": "desc"},
                }
            case "table":
                return {"cellHeight": "sm", "footer": {"show": False}, "showHeader": True}

    def _transformations(self) -> list[Json]:
        if not self.is_table:
            return []
        shown = list(self.columns)
        return [
            {"id": "filterFieldsByName", "options": {"include": {"names": shown}}},
            {
                "id": "organize",
                "options": {"indexByName": {name: place for place, name in enumerate(shown)}},
            },
        ]


@dataclass(frozen=True)
class Row:
    """Panels under a heading. With ``repeat``, a folded row for each value of that variable."""

    title: str
    panels: Sequence[Panel]
    folded: bool = False
    repeat: str | None = None


@dataclass(frozen=True)
class Variable:
    """A dashboard variable: the values of ``label`` that ``metric`` has."""

    label: str
    title: str
    description: str
    metric: str
    filters: str = ""
    everything: str = ".+"

    def json(self) -> Json:
        """Return the variable; several values or all can be selected."""
        query = f"label_values({self.metric}{{{self.filters}}}, {self.label})"
        return {
            "name": self.label,
            "label": self.title,
            "description": self.description,
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": "StandardVariableQuery"},
            "refresh": 2,
            "regex": "",
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": self.everything,
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "hide": 0,
        }


def dashboard(
    title: str, uid: str, description: str, variables: Sequence[Variable], rows: Sequence[Row]
) -> Json:
    """Return the dashboard, with the datasource as its first variable."""
    datasource = {
        "name": "datasource",
        "label": "Data source",
        "description": "The Prometheus that reads the proxies.",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "regex": "",
    }
    return {
        "title": title,
        "uid": uid,
        "description": description,
        "tags": ["candescent-proxy"],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": SCHEMA,
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [datasource, *(variable.json() for variable in variables)]},
        "panels": list(_placed(rows)),
    }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    number, y = 1, 0
    for row in rows:
        heading: Json = {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": row.folded,
            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
            "panels": [],
        }
        if row.repeat:
            heading["repeat"] = row.repeat
        placed, bottom = _grid(row.panels, number + 1, y + 1)
        number += 1 + len(placed)
        # A folded row contains its panels; those of an open one follow it.
        yield heading | {"panels": placed} if row.folded else heading
        if row.folded:
            bottom = y + 1
        else:
            yield from placed
        y = bottom


def _grid(panels: Sequence[Panel], number: int, top: int) -> tuple[list[Json], int]:
    """Return the panels in lines as wide as the page, and the position below them."""
    placed: list[Json] = []
    x, y, tallest = 0, top, 0
    for panel in panels:
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        placed.append(panel.json(number + len(placed), x, y))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return placed, y + tallest
