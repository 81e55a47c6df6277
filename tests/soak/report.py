"""Formats the result as JSON and as a Markdown table."""

import json
from dataclasses import asdict

from tests.soak.promises import RequestOutcome
from tests.soak.reconfiguration import RECONFIGURATIONS
from tests.soak.run import CALLERS, SoakReport
from tools.machine import machine, today


def as_json(outcome: SoakReport) -> str:
    """Return all counts."""
    outcomes = outcome.outcomes
    document = {
        "kept": not outcome.broken,
        "broken": outcome.broken[:100],
        "seconds": round(outcome.seconds, 1),
        "plan": asdict(outcome.plan),
        "requests": outcomes.total,
        "fates": {
            result.value: _sum(outcome, result)
            for result in RequestOutcome
            if _sum(outcome, result)
        },
        "calm": {result.value: count for result, count in outcomes.calm.items()},
        "slowest_seconds": round(outcomes.slowest, 2),
        "arrivals": outcome.arrivals,
        "sent_with_token": outcome.sent,
        "unsafe_arrivals": outcome.unsafe,
        "payments_made": outcome.payments,
        "tokens_issued": outcome.tokens,
        "latest_seconds": round(outcome.latest, 3),
        "reloads_taken": outcome.reloads_succeeded,
        "reloads_refused": outcome.reloads_failed,
        "replays": outcome.replays,
        "spells": outcome.fault_periods,
        "start": asdict(outcome.start),
        "end": asdict(outcome.end),
        "machine": machine(),
    }
    return json.dumps(document, indent=2)


def as_table(outcome: SoakReport) -> str:
    """Return the main counts in Markdown."""
    outcomes = outcome.outcomes
    rows = [
        ("requests", f"{outcomes.total:,} in {outcome.seconds:.0f} s"),
        *(
            (f"… {result.value}", f"{_sum(outcome, result):,}")
            for result in RequestOutcome
            if _sum(outcome, result)
        ),
        (
            "requests outside of faults",
            f"{sum(outcomes.calm.values()):,}, all as they should be",
        ),
        ("arrivals at the bank, each judged", f"{outcome.arrivals:,}"),
        ("unsafe requests among them, none twice", f"{outcome.unsafe:,}"),
        ("payments made, none twice", f"{outcome.payments:,}"),
        ("requests sent with a token, none after its end", f"{outcome.sent:,}"),
        ("… the latest of them, before (-) or after (+) it", f"{outcome.latest * 1000:+.1f} ms"),
        ("tokens issued", f"{outcome.tokens:,}"),
        ("faults", f"{_faults(outcome):,}"),
        (
            "changes taken, refused",
            f"{outcome.reloads_succeeded:.0f}, {outcome.reloads_failed:.0f}",
        ),
        ("requests sent a second time (safe ones)", f"{outcome.replays:.0f}"),
        ("slowest request", f"{outcomes.slowest:.1f} s"),
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


def _sum(outcome: SoakReport, result: RequestOutcome) -> int:
    return sum(count for (_, found), count in outcome.outcomes.outcomes.items() if found is result)


def _faults(outcome: SoakReport) -> int:
    chores = {chore.__name__.replace("_", " ") for chore in RECONFIGURATIONS} | {"chores"}
    return sum(times for name, times in outcome.fault_periods.items() if name not in chores)


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
