"""Draws the main figures as an SVG bar chart."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from bench.peers import PEERS

PANELS = (
    ("small", "cpu_us", "CPU a request, plain upstream", "µs"),
    ("tls", "cpu_us", "CPU a request, TLS upstream", "µs"),
    ("latency", "p99_ms", "p99 at 500 requests a second", "ms"),
    ("memory", "idle_mb", "Memory when idle", "MB"),
)
"""Case, metric, title, unit."""

WIDTH, LABEL, BAR, GAP, HEAD = 720, 210, 18, 6, 34
CUT = 5
"""A bar is truncated at this multiple of the first bar's length."""
COLOURS = {"ours": "#1f6feb", "compiled": "#54aeff"}
OTHERS = "#8b949e"

Figures = Mapping[str, Mapping[str, float]]
"""Proxy to metric to value, for one case."""


def svg(cases: Mapping[str, Figures]) -> str:
    """Return the chart of the panels whose case has been measured."""
    shown = [(panel, _bars(cases[panel[0]], panel[1])) for panel in PANELS if panel[0] in cases]
    parts: list[str] = []
    y = 10
    for (_, _, title, unit), bars in shown:
        parts += _panel(y, title, unit, bars)
        y += HEAD + len(bars) * (BAR + GAP) + 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        f'width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="13">'
    )
    ground = f'<rect width="{WIDTH}" height="{y}" rx="6" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>\n"])


def _bars(figures: Figures, metric: str) -> list[tuple[str, float]]:
    return [(name, figures[name][metric]) for name in PEERS if name in figures]


def _panel(y: int, title: str, unit: str, bars: Sequence[tuple[str, float]]) -> Iterator[str]:
    # A single long bar would make all others invisible.
    most = min(max(value for _, value in bars), CUT * bars[0][1]) or 1.0
    yield _text(16, y + 18, title, 'font-weight="bold"')
    for number, (name, value) in enumerate(bars):
        top = y + HEAD + number * (BAR + GAP)
        length = max(min(value / most, 1) * (WIDTH - LABEL - 140), 1)
        middle = top + BAR - 5
        yield _text(LABEL - 8, middle, PEERS[name].label, 'text-anchor="end"')
        yield (
            f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2" '
            f'fill="{COLOURS.get(name, OTHERS)}"/>'
        )
        cut = " (bar cut)" if value > most else ""
        yield _text(LABEL + length + 6, middle, _said(value, unit) + cut)


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="#1f2328" {more}>{escape(text)}</text>'


def _said(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.0f} {unit}"
