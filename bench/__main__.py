"""``python -m bench``: measure, print, save. ``make bench`` calls it.

::

    make bench                              everything, about twenty-five minutes
    make bench ARGS=--quick                 the main cases, less exactly, in three minutes
    make bench ARGS='--cases small,tls --peers ours,envoy --rounds 10'
    make bench ARGS=--footprint             memory, start-up, cost of an idle proxy
    make bench ARGS=--write                 everything, and into bench/README.md

Results are in build/bench (of a quick run in build/bench/quick): a JSON file per case with every
sample, the tables in report.md, the chart in chart.svg. A repeated case replaces
its own file only; the report covers all files.
"""

import argparse
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import chart, machine
from bench.cases import CASES, FOOTPRINT_CASES, Case
from bench.figures import Sample
from bench.machine import BUILD, BenchError, Cores
from bench.peers import PEERS, usual
from bench.report import METRICS, PAGE, PLACE, CaseResult, markdown, saved
from bench.rounds import play

PICTURE = PAGE.parent / "performance.svg"
QUICK_ROUNDS, QUICK_SHARE = 2, 4
BUSY = 0.5
"""Load average above which the machine counts as busy."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = parser().parse_args(argv)
    try:
        _run(arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # finished cases have been saved
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("--quick", action="store_true", help="less of it, shorter")
    root.add_argument("--footprint", action="store_true", help="memory, start, idleness only")
    root.add_argument("--cases", type=_names, default=[], help=f"of {', '.join(CASES)}")
    root.add_argument("--peers", type=_names, default=usual(), help=f"of {', '.join(PEERS)}")
    root.add_argument("--rounds", type=int, help="instead of each case's own number")
    root.add_argument("--write", action="store_true", help="bring bench/README.md up to date")
    return root


def _names(text: str) -> list[str]:
    return text.split(",")


def _run(arguments: argparse.Namespace) -> None:
    cases = chosen(arguments)
    peers = _known(arguments.peers, PEERS)
    machine.need(["nginx", "wrk", "taskset", "openssl"])
    machine.allow_many_files()
    cores = Cores.choose()
    # This process shares the core of the load, so that the proxies have their own.
    machine.stay_on(cores.load)
    folder = BUILD / "quick" if arguments.quick else BUILD
    folder.mkdir(parents=True, exist_ok=True)
    description = machine.describe(cores)
    if os.getloadavg()[0] > BUSY:
        print("This machine is busy; the figures will be less exact.")
    for case in cases:
        names = [name for name in peers if name in case.peers]
        if not names:
            continue
        print(f"{case.name}: {case.group}, {case.title}", flush=True)
        rounds = play(case, names, cores, lambda *on_sample, case=case: _tell(case, *on_sample))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        CaseResult(case, now, case.seconds, description, rounds).save(folder)
    _report(folder, write=arguments.write and not arguments.quick)


def chosen(arguments: argparse.Namespace) -> list[Case]:
    """Return the cases to run, shortened for a quick run."""
    named = [*arguments.cases, *(FOOTPRINT_CASES if arguments.footprint else ())]
    cases = [CASES[name] for name in _known(named, CASES)] or [
        case for case in CASES.values() if case.quick or not arguments.quick
    ]
    if arguments.quick:
        cases = [
            replace(
                case,
                rounds=min(case.rounds, QUICK_ROUNDS),
                seconds=max(case.seconds // QUICK_SHARE, 1),
            )
            for case in cases
        ]
    return [replace(case, rounds=arguments.rounds or case.rounds) for case in cases]


def _known(names: Sequence[str], known: Collection[str]) -> Sequence[str]:
    """Return ``names``; raise ``BenchError`` if one is unknown."""
    strange = [name for name in names if name not in known]
    if strange:
        raise BenchError(f"{', '.join(strange)}: choose of {', '.join(known)}")
    return names


def _tell(case: Case, number: int, peer: str, sample: Sample) -> None:
    on_sample = (
        f"{METRICS[name][0]} {sample[name]:,.{METRICS[name][1]}f}" for name in case.metrics
    )
    failed = f"; {sample['failed']:.1%} failed" if sample.get("failed") else ""
    print(f"  {number + 1}/{case.rounds} {peer:10}", "; ".join(on_sample) + failed, flush=True)


def _report(folder: Path, *, write: bool) -> None:
    results = saved(folder)
    text = markdown(results)
    picture = chart.svg(
        {
            result.case.name: {
                peer: {metric: figure.value for metric, figure in figures.items()}
                for peer, figures in result.figures.items()
            }
            for result in results
        }
    )
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "chart.svg").write_text(picture, encoding="utf-8")
    print(f"\n{text}\nSaved in {folder.relative_to(machine.ROOT)}: JSON, report.md, chart.svg")
    if write:
        illustrated = f"![The main figures as bars]({PICTURE.name})\n\n{text}"
        PLACE.write(PAGE, illustrated)
        PICTURE.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
