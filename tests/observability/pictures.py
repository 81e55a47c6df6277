"""Draws the dashboard's panels with data that Prometheus returns for their queries.

Position, title, unit, colours and legend are those of the dashboard; matplotlib draws them, so
no Grafana is needed.
"""

import asyncio
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image  # a dependency of matplotlib

from tests.observability.panels import FLEET, Json, PanelQuery, panel_queries, rows
from tests.observability.servers import Prometheus

COLUMN, LINE = 0.5, 0.36
"""Size of a column and a line of the dashboard's grid in inches."""

INK, FAINT = "#1f2328", "#6e7781"
COLOURS = {"green": "#2da44e", "orange": "#d4840d", "red": "#cf222e", "blue": "#1f6feb"}
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Span:
    """A period in Unix seconds, and its ``$__rate_interval``."""

    start: float
    end: float
    interval: str
    step: float = 1.0


@dataclass(frozen=True)
class PanelLine:
    """A line of a panel."""

    name: str
    labels: Mapping[str, str]
    points: Points

    @property
    def last(self) -> float:
        """The last value."""
        return next((value for _, value in reversed(self.points) if not math.isnan(value)), 0.0)

    @property
    def most(self) -> float:
        """The largest value."""
        return max((value for _, value in self.points if not math.isnan(value)), default=0.0)


async def draw(
    prometheus: Prometheus, dashboard: Json, folder: Path, spans: Mapping[str, Span]
) -> list[Path]:
    """Draw the rows named by ``spans`` into files of ``folder``; return the files."""
    files = []
    for title, panels in rows(dashboard):
        if title in spans:
            figure = await _row(prometheus, panels, spans[title])
            file = folder / f"dashboard-{title.lower().rstrip('?').replace(' ', '-')}.png"
            _save(figure, file)
            files.append(file)
    return files


def _save(figure: Figure, file: Path) -> None:
    """Write a picture with a reduced palette, for a small file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=96)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(48).save(file, optimize=True)


async def _row(prometheus: Prometheus, panels: Sequence[Json], span: Span) -> Figure:
    places = [panel["gridPos"] for panel in panels]
    top, bottom = min(p["y"] for p in places), max(p["y"] + p["h"] for p in places)
    height = (bottom - top) * LINE
    with mpl.rc_context({"font.size": 8, "text.color": INK, "axes.edgecolor": "#d0d7de"}):
        figure = Figure(figsize=(24 * COLUMN, height), layout=None)
        for panel, place in zip(panels, places, strict=True):
            lines = await _lines(prometheus, panel, span)
            left, width = place["x"] / 24, place["w"] / 24
            low = (bottom - place["y"] - place["h"]) * LINE / height
            tall = place["h"] * LINE / height
            figure.text(left + 0.005, low + tall - 0.2 / height, panel["title"], weight="bold")
            axes = figure.add_axes(
                (left + 0.05, low + 0.3 * tall, width - 0.06, 0.53 * tall), label=panel["title"]
            )
            {"stat": _stat, "timeseries": _series, "table": _table}[panel["type"]](
                axes, panel, lines, span
            )
    return figure


async def _lines(prometheus: Prometheus, panel: Json, span: Span) -> list[PanelLine]:
    async def ask(query: PanelQuery) -> list[PanelLine]:
        found = await prometheus.series(query.expr, span.start, span.end, span.step)
        return [PanelLine(query.name(labels), labels, points) for labels, points in found]

    responses = await asyncio.gather(*map(ask, panel_queries(panel, FLEET, span.interval)))
    return [line for lines in responses for line in lines]


def _series(axes: Axes, panel: Json, lines: Sequence[PanelLine], span: Span) -> None:
    custom, unit = panel["fieldConfig"]["defaults"]["custom"], _unit(panel)
    shown = sorted(lines, key=lambda line: -line.most)
    colours = _chosen(panel)
    axes.spines[["top", "right"]].set_visible(False)
    if custom["stacking"]["mode"] == "normal":
        grid = _grid(shown, span)
        times = [at - span.start for at in _times(span)]
        axes.stackplot(
            times, *grid, labels=[line.name for line in shown], alpha=0.75,
            colors=[colours.get(line.name, f"C{place}") for place, line in enumerate(shown)],
        )  # fmt: skip
    else:
        for place, line in enumerate(shown):
            times = [at - span.start for at, _ in line.points]
            values = [value for _, value in line.points]
            colour = colours.get(line.name, f"C{place % 10}")
            axes.plot(times, values, label=line.name, color=colour, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, span.end - span.start)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: said(value, unit)))
    axes.tick_params(labelsize=7, colors=FAINT)
    axes.grid(visible=True, color="#eaeef2", linewidth=0.6)
    if shown:
        longest = max(len(line.name) for line in shown)
        axes.legend(
            *(part[:6] for part in axes.get_legend_handles_labels()),
            loc="upper left",
            bbox_to_anchor=(-0.06, -0.16),
            ncols=3 if longest < 16 else 2,
            fontsize=6.5,
            frameon=False,
            handlelength=1.2,
        )


def _times(span: Span) -> list[float]:
    count = int((span.end - span.start) / span.step) + 1
    return [span.start + place * span.step for place in range(count)]


def _grid(lines: Sequence[PanelLine], span: Span) -> list[list[float]]:
    """Return the values of lines at the same times, 0 where there is none."""
    grid = []
    for line in lines:
        known = {round((at - span.start) / span.step): value for at, value in line.points}
        values = [known.get(place, 0.0) for place in range(len(_times(span)))]
        grid.append([0.0 if math.isnan(value) else value for value in values])
    return grid


def _stat(axes: Axes, panel: Json, lines: Sequence[PanelLine], _span: Span) -> None:
    axes.axis("off")
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    for place, line in enumerate(lines[:6]):
        reached = [step["color"] for step in steps[1:] if line.last >= step["value"]]
        colour = [steps[0]["color"], *reached][-1]
        at = (place + 0.5) / min(len(lines), 6)
        axes.text(
            at, 0.5, said(line.last, _unit(panel)), ha="center", va="center", fontsize=17,
            weight="bold", color=COLOURS.get(colour, INK),
        )  # fmt: skip
        axes.text(at, 0.02, line.name, ha="center", fontsize=7, color=FAINT)


def _table(axes: Axes, panel: Json, lines: Sequence[PanelLine], span: Span) -> None:
    axes.axis("off")
    names = list(panel["transformations"][1]["options"]["indexByName"])
    there = [line for line in lines if line.points[-1][0] > span.end - 2 * span.step]
    found = sorted({tuple(line.labels.get(name, "") for name in names) for line in there})
    for number, row in enumerate([names, *found[:8]]):
        for place, text in enumerate(row):
            # The first column has the longest texts.
            axes.text(
                (place + bool(place)) / (len(names) + 1), 1.05 - number * 0.17, text, fontsize=7,
                color=INK if number else FAINT,
            )  # fmt: skip


def _chosen(panel: Json) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for override in panel["fieldConfig"]["overrides"]:
        colour = override["properties"][0]["value"]["fixedColor"]
        chosen[override["matcher"]["options"]] = COLOURS.get(colour, colour)
    return chosen


def _unit(panel: Json) -> str:
    return str(panel["fieldConfig"]["defaults"]["unit"])


_SUFFIXES: dict[str, Any] = {"reqps": " req/s", "opm": " /min", "cps": " /s"}


def said(value: float, unit: str) -> str:
    """Return a value with its unit, in a short form."""
    if math.isnan(value):
        return "-"
    if unit == "s":
        return _seconds(value)
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit in ("bytes", "Bps"):
        return _bytes(value) + ("/s" if unit == "Bps" else "")
    return f"{value:.4g}{_SUFFIXES.get(unit, '')}"


def _seconds(value: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms")):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value * 1e6:.3g} µs" if value else "0"


def _bytes(value: float) -> str:
    for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g} B"
