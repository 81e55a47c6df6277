"""The outcome as JSON, for machines, and as a table, for people and for the documentation."""

import json
from dataclasses import asdict

from tests.soak.promises import Fate
from tests.soak.reconfiguration import CHORES
from tests.soak.run import CALLERS, Outcome
from tools.machine import machine, today


def as_json(outcome: Outcome) -> str:
    """Return everything that was counted."""
    book = outcome.book
    document = {
        "kept": not outcome.broken,
        "broken": outcome.broken[:100],
        "seconds": round(outcome.seconds, 1),
        "plan": asdict(outcome.plan),
        "requests": book.total,
        "fates": {fate.value: _sum(outcome, fate) for fate in Fate if _sum(outcome, fate)},
        "calm": {fate.value: count for fate, count in book.calm.items()},
        "slowest_seconds": round(book.slowest, 2),
        "arrivals": outcome.arrivals,
        "sent_with_token": outcome.sent,
        "unsafe_arrivals": outcome.unsafe,
        "payments_made": outcome.payments,
        "tokens_issued": outcome.tokens,
        "latest_seconds": round(outcome.latest, 3),
        "reloads_taken": outcome.taken,
        "reloads_refused": outcome.refused,
        "replays": outcome.replays,
        "spells": outcome.spells,
        "start": asdict(outcome.start),
        "end": asdict(outcome.end),
        "machine": machine(),
    }
    return json.dumps(document, indent=2)


def as_table(outcome: Outcome) -> str:
    """Return the same in Markdown, without what only a program wants."""
    book = outcome.book
    rows = [
        ("requests", f"{book.total:,} in {outcome.seconds:.0f} s"),
        *((f"… {fate.value}", f"{_sum(outcome, fate):,}") for fate in Fate if _sum(outcome, fate)),
        (
            "requests under a clear sky",
            f"{sum(book.calm.values()):,}, all as they should be",
        ),
        ("arrivals at the bank, each judged", f"{outcome.arrivals:,}"),
        ("unsafe requests among them, none twice", f"{outcome.unsafe:,}"),
        ("payments made, none twice", f"{outcome.payments:,}"),
        ("requests sent with a token, none after its end", f"{outcome.sent:,}"),
        ("… the latest of them, before (-) or after (+) it", f"{outcome.latest * 1000:+.1f} ms"),
        ("tokens issued", f"{outcome.tokens:,}"),
        ("faults and weathers", f"{_weathers(outcome):,}"),
        ("changes taken, refused", f"{outcome.taken:.0f}, {outcome.refused:.0f}"),
        ("requests sent a second time (safe ones)", f"{outcome.replays:.0f}"),
        ("slowest request", f"{book.slowest:.1f} s"),
        (
            "memory at start and end",
            f"{_mb(outcome.start.resident)}, {_mb(outcome.end.resident)}",
        ),
        (
            "open files at start and end",
            f"{outcome.start.descriptors}, {outcome.end.descriptors}",
        ),
        ("promises broken", str(len(outcome.broken))),
    ]
    head = f"Measured on {today()}, on {machine()}, with {CALLERS} callers at once."
    lines = ["| what | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([head, "", *lines])


def _sum(outcome: Outcome, fate: Fate) -> int:
    return sum(count for (_, found), count in outcome.book.fates.items() if found is fate)


def _weathers(outcome: Outcome) -> int:
    chores = {chore.__name__.replace("_", " ") for chore in CHORES} | {"chores"}
    return sum(times for name, times in outcome.spells.items() if name not in chores)


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
