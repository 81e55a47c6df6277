"""The frames of ``candescent-proxy top``, from ``/api/status``.

Unknown fields of a newer proxy are ignored.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

Document = Mapping[str, Any]

REQUESTS, ERRORS, TOKENS = 12, 4, 12
"""Largest number of lines of each table."""
FRESH = 6
"""Fresh tokens up to which each has a line; more of them share one."""

_BARS = " ▁▂▃▄▅▆▇█"
_PLAIN_BARS = " .:-=+*#%"
_STATES = {"ok": "bold green", "warning": "bold yellow", "failing": "bold red"}
_TOKEN_STATES = {"fresh": "green", "failing": "yellow", "missing": "bold red", "pending": "cyan"}


def frame(status: Document, *, is_unicode: bool = True) -> RenderableType:
    """Return the frame for a status document."""
    parts: list[RenderableType] = [*_head(status), ""]
    parts.append(_rates(status, _BARS if is_unicode else _PLAIN_BARS))
    if status["errors"]:
        parts += ["", _errors(status)]
    parts += ["", _tokens(status), "", _requests(status)]
    return Group(*parts)


def unreachable_frame(why: str, seconds: float, last: Document | None) -> RenderableType:
    """Return the frame while the proxy does not respond, with what was seen last."""
    lines = [Text(f"gone   {why}", "bold red")]
    lines.append(Text(f"       for {span(seconds)}; retrying"))
    if last is None:
        return Group(*lines)
    about = last["about"]
    known = f"       last seen: version {about['version']} → {about['upstream']}"
    return Group(*lines, Text(known), Text(f"       {last['health']['sentence']}", "dim"))


def _head(status: Document) -> Iterator[RenderableType]:
    health, about = status["health"], status["about"]
    line = Text(f"{health['state']:7}", _STATES.get(health["state"], "bold cyan"))
    yield line.append(health["sentence"], "bold")
    for name in ("cause", "advice"):
        if health[name]:
            yield Text(f"       {health[name]}")
    for other in health.get("others", ()):
        line = Text(f"{other['state']:8}", _STATES.get(other["state"], "bold cyan"))
        yield line.append(f"{other['sentence']} {other['advice']}", "not bold default")
    at = ", ".join(f"{listener['name']} {listener['address']}" for listener in status["listeners"])
    yield Text(
        f"       version {about['version']}, up {span(about['uptime'])}; {at} → "
        f"{about['upstream']}",
        "dim",
    )


def _tokens(status: Document) -> RenderableType:
    table = _table("token", "state", "expires in", "next call in", "failures", "why")
    fresh = [token for token in status["tokens"] if token["state"] == "fresh"]
    is_folded = len(fresh) > FRESH
    shown = [each for each in status["tokens"] if not is_folded or each["state"] != "fresh"]
    for token in shown[:TOKENS]:
        failure = token["failure"]
        table.add_row(
            ":".join(filter(None, (token["kind"], token["institution"], token["login"]))),
            Text(token["state"], _TOKEN_STATES.get(token["state"], "")),
            _until(token["expires_at"], status["at"]),
            "now" if token["refreshing"] else _until(token["refresh_at"], status["at"]),
            str(token["failures"] or ""),
            escape(failure["detail"]) if failure else "",
        )
    hidden = status["tokens_in_all"] - min(len(shown), TOKENS) - len(fresh) * is_folded
    notes = [f" and {hidden} more"] if hidden > 0 else []
    if is_folded:
        first = _until(min(token["expires_at"] for token in fresh), status["at"])
        others = " other" if shown else ""
        notes.append(f" {len(fresh)}{others} tokens are fresh; the first expires in {first}")
    return Group(*([table] if shown else []), *(Text(note, "dim") for note in notes))


def _rates(status: Document, bars: str) -> RenderableType:
    minute, load = status["minute"], status["load"]
    failed = {name: minute[name] for name in ("bank", "upstream", "token", "proxy", "caller")}
    errors = ", ".join(f"{count} {name}" for name, count in failed.items() if count)
    line = Text(f" {minute['per_second']:.1f} requests/s", "bold")
    line.append(f"; p50 {_ms(minute['p50_ms'])}, p99 {_ms(minute['p99_ms'])}")
    line.append(f"; {load['in_flight']} running, {load['upstream_connections']} connections")
    if errors:
        line.append(f"; errors in the last minute: {errors}", "yellow")
    return Group(line, Text(f" {spark(status['series']['per_second'][-60:], bars)}", "cyan"))


def _errors(status: Document) -> RenderableType:
    table = _table("error", "times", "ago", "what to do")
    for error in status["errors"][:ERRORS]:
        ago = span(status["at"] - error["last_at"])
        what = escape(error["advice"] or error["detail"])
        table.add_row(Text(error["reason"], "yellow"), str(error["count"]), ago, what)
    return table


def _requests(status: Document) -> RenderableType:
    listeners = {listener["name"] for listener in status["listeners"]} - {"admin"}
    several = ["listener"] if len(listeners) > 1 else []
    table = _table("ago", *several, "request", "answer", "ms", "institution", "transactionId")
    for request in status["requests"][:REQUESTS]:
        table.add_row(
            span(status["at"] - request["at"]),
            *(request[name] for name in several),
            escape(f"{request['method']} {request['path']}"),
            _status_text(request),
            f"{request['total_ms']:.1f}",
            request["institution"],
            request["transactionId"],
        )
    return table if status["requests"] else Text(" no requests yet", "dim")


def _status_text(request: Document) -> Text:
    text = str(request["status"] or "none")
    if request["aborted"]:
        text += ", aborted"
    if request["error_source"] != "none":
        return Text(f"{text} {request['reason']} ({request['error_source']})", "red")
    return Text(text, "green" if request["status"] < 400 else "yellow")


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=True, show_edge=False, header_style="dim")
    for name in columns:
        is_number = name in ("ms", "times", "failures", "ago")
        table.add_column(
            name,
            justify="right" if is_number else "left",
            overflow="ellipsis",
            no_wrap=name not in ("why", "what to do"),
        )
    return table


def _until(timestamp: float | None, now: float) -> str:
    return "" if timestamp is None else span(max(timestamp - now, 0.0))


def _ms(value: float | None) -> str:
    return "no time" if value is None else f"{value:.1f} ms"


def span(seconds: float) -> str:
    """Return a duration in its two greatest units, such as ``1 h 05 min``."""
    total_seconds = int(max(seconds, 0))
    if total_seconds < 60:
        return f"{total_seconds} s"
    if total_seconds < 3600:
        return f"{total_seconds // 60} min {total_seconds % 60:02} s"
    if total_seconds < 86_400:
        return f"{total_seconds // 3600} h {total_seconds % 3600 // 60:02} min"
    return f"{total_seconds // 86_400} d {total_seconds % 86_400 // 3600:02} h"


def spark(values: Sequence[float], bars: str = _BARS) -> str:
    """Return a sparkline; the highest value is a full bar."""
    top = max(values, default=0.0)
    if top <= 0:
        return bars[0] * len(values)
    # Rounded up, so that a small value differs from 0.
    return "".join(bars[ceil(value / top * (len(bars) - 1))] for value in values)
