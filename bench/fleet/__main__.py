"""``python -m bench.fleet``: simulate, measure, print, save. ``make fleet`` calls it.

::

    make fleet                             everything: simulation, and ten minutes of real proxies
    make fleet ARGS='--groups rollout,wake'
    make fleet ARGS=--write                everything, and into README.md and its pictures

Results are in build/fleet, a JSON file per group; the page is made of all of them.
Simulated results are the same on every machine; measured ones name the machine.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from bench.fleet import plans, plots, real, report
from bench.fleet.call_log import figures
from bench.fleet.plan import Plan
from bench.fleet.plans import GROUPS
from bench.fleet.play import played
from bench.fleet.report import PAGE, PlanResult, markdown, place
from bench.machine import ROOT, BenchError
from tools.machine import machine, today

FOLDER = ROOT / "build" / "fleet"
PICTURES = ROOT / "docs" / "images"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = parser().parse_args(argv)
    try:
        for group in arguments.groups:
            _measure(group)
        if arguments.write:
            write()
    except BenchError as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(
        prog="fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument(
        "--groups", type=_groups, default=list(GROUPS), help=f"of {', '.join(GROUPS)}"
    )
    root.add_argument("--write", action="store_true", help="bring bench/fleet/README.md up to date")
    return root


def write() -> None:
    """Write the tables of all results into the page, and draw the pictures."""
    for group in GROUPS:
        results, about = report.load(FOLDER, group)
        if results:
            place(group).write(PAGE, markdown(group, results, about))
    steady, _ = report.load(FOLDER, "steady")
    if steady:
        plots.steady(steady, PICTURES / "fleet-steady.svg")
    plots.rollout(
        [plan for plan in plans.rollout() if plan.pods == 10_000], PICTURES / "fleet-rollout.svg"
    )


def _groups(text: str) -> list[str]:
    groups = text.split(",")
    if strange := [name for name in groups if name not in GROUPS]:
        raise argparse.ArgumentTypeError(f"{strange[0]}: choose of {', '.join(GROUPS)}")
    return groups


def _measure(group: str) -> None:
    results = []
    for plan in GROUPS[group]():
        began = time.perf_counter()
        one = _both(plan) if group == "real" else PlanResult(plan.name, played(plan))
        print(f"{one}  {time.perf_counter() - began:.1f} s", flush=True)
        results.append(one)
    about = {"machine": machine(), "day": today()} if group == "real" else {}
    report.save(FOLDER, group, results, **about)
    print(markdown(group, results, about))


def _both(plan: Plan) -> PlanResult:
    """Run a plan both ways; simulated pods start at the times of the real ones."""
    settled = plan.name.endswith("-settled")
    log = asyncio.run(real.play(plan, settled=settled))
    same = settled_later(plan) if settled else replace(plan, starts=tuple(sorted(log.started)))
    return PlanResult(plan.name, played(same), figures(plan, log))


def settled_later(plan: Plan) -> Plan:
    """Return a plan for the simulation, whose time starts at the first start of a pod.

    All faults are moved by three lifetimes, after which refreshes are spread as with real pods.
    """
    later = 3 * plan.lifetime

    def moved(window: tuple[float, float]) -> tuple[float, float]:
        return window[0] + later, window[1] + later

    return replace(
        plan,
        start_over=plan.lifetime / 2,
        watched=moved(plan.watched),
        bank_down=moved(plan.bank_down),
        store_down=moved(plan.store_down),
        asleep=moved(plan.asleep),
    )


if __name__ == "__main__":
    sys.exit(main())
