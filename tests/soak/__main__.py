"""``make soak``: run it, write build/soak.json, print a table; exit code 1 on any violation."""

import argparse
import sys
import tempfile
from pathlib import Path

from proxy.runtime.serve import run
from tests.soak.report import as_json, as_table
from tests.soak.run import Plan, SoakReport, soak
from tools.passage import Passage
from tools.repository import ROOT

RESULT = ROOT / "build" / "soak.json"
PAGE = ROOT / "tests" / "promises.md"
PLACE = Passage("soak", "measured by `make soak ARGS='--minutes 10 --write'`")


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the schedule of faults")
    parser.add_argument("--rest", type=float, default=0.05, help="of a caller, at most, in seconds")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}, if all is kept")
    arguments = parser.parse_args()
    plan = Plan(arguments.minutes * 60, seed=arguments.seed, rest=arguments.rest)
    outcomes: list[SoakReport] = []
    with tempfile.TemporaryDirectory() as folder:

        async def work() -> int:
            outcomes.append(await soak(Path(folder), plan))
            return 0

        run(work())
    (outcome,) = outcomes
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(as_json(outcome) + "\n", encoding="utf-8")
    print(as_table(outcome))
    print("\n".join(outcome.broken[:20]), file=sys.stderr)
    if arguments.write and not outcome.broken:
        PLACE.write(PAGE, as_table(outcome))
    print(f"\n{RESULT} has all of it.")
    return bool(outcome.broken)


if __name__ == "__main__":
    sys.exit(main())
