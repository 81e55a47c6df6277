"""The main figures as SVG, drawn by matplotlib."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from math import floor
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.fleet.plan import Plan
from bench.fleet.play import play
from bench.fleet.report import PlanResult

ALONE, SPREAD, SHARED = "#cf222e", "#9a6700", "#1f6feb"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, and a reader's own font
    "svg.hashsalt": "fleet",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def steady(results: Sequence[PlanResult], file: Path) -> None:
    """Draw calls per hour against pods, with tokens that live one hour."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure("token calls an hour, tokens of an hour", "pods", "calls an hour")
        for way, colour, label in (
            ("alone", ALONE, "each its own"),
            ("store", SHARED, "with a store"),
        ):
            for institutions, dashes in (("1", "-"), ("10", "--")):
                points = [
                    (int(one.words[0]), one.played.per_hour)
                    for one in results
                    if one.words[1:] == [institutions, "3600", way]
                ]
                name = f"{label}, {institutions} institution{'s' * (institutions != '1')}"
                axes.plot(*zip(*points, strict=True), dashes, marker="o", color=colour, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(frameon=False)
        _save(figure, file)


def rollout(plans: Sequence[Plan], file: Path) -> None:
    """Draw the number of ready pods per second, for each way to start."""
    with mpl.rc_context(STYLE):
        pods = plans[0].pods
        figure, axes = _figure(
            f"roll-out of {pods:,} pods, a bank that takes {plans[0].spike} calls a second",
            "seconds since the first start",
            "pods ready",
        )
        labels = ("at once", "spread", "with a store")
        for plan, colour, label in zip(plans, (ALONE, SPREAD, SHARED), labels, strict=True):
            log = play(replace(plan, watched=(0.0, 600.0)))
            ready = [0] * 601
            for when in log.ready:
                ready[floor(when) + 1] += 1
            axes.plot(list(accumulate(ready)), color=colour, label=label)
        axes.legend(frameon=False)
        _save(figure, file)


def _figure(title: str, across: str, up: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
