"""``make fuzz``: runs the targets in turn for some minutes; exit code 1 on the first failure."""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.fuzz import differential

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "fuzz"
Target = Callable[[], None]


def targets(chosen: str) -> Iterator[tuple[str, Target]]:
    """Return the targets whose name contains ``chosen``."""
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        module = import_module(f"tests.fuzz.{file.stem}")
        for name, found in vars(module).items():
            if name.startswith("test_") and hasattr(found, "hypothesis") and chosen in name:
                yield name, found


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--target", default="", help="only those whose name holds this")
    parser.add_argument("--examples", type=int, default=2000, help="of a target in its turn")
    parser.add_argument(
        "--differential", type=int, metavar="COUNT", help="compare with nginx and Envoy instead"
    )
    arguments = parser.parse_args()
    if arguments.differential is not None:
        return differential.main(arguments.differential, print)
    KEPT.mkdir(parents=True, exist_ok=True)
    profile = settings(
        max_examples=arguments.examples,
        database=DirectoryBasedExampleDatabase(KEPT),
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    )
    chosen = list(targets(arguments.target))
    if not chosen:
        print(f"No target is called {arguments.target!r}.", file=sys.stderr)
        return 2
    return _run(chosen, profile, time.monotonic() + arguments.minutes * 60)


def _run(chosen: list[tuple[str, Target]], profile: settings, end: float) -> int:
    turns = 0
    while time.monotonic() < end:
        for name, target in chosen:
            random.seed()
            began = time.monotonic()
            try:
                fuzzed = settings(profile)(_fresh(target))
                fuzzed()
            except Exception as error:  # noqa: BLE001 - any exception is a finding
                print(f"\n{name} fails:\n", "\n".join(getattr(error, "__notes__", [])))
                print(f"{type(error).__name__}: {error}")
                print("Make an @example of it, or a test, and mend what it found.")
                return 1
            print(f"{name}: {profile.max_examples} in {time.monotonic() - began:.1f} s", flush=True)
            turns += 1
            if time.monotonic() >= end:
                break
    print(f"Nothing found in {turns * profile.max_examples:,} examples.")
    return 0


def _fresh(target: Target) -> Target:
    """Return the target without the settings of its last run."""
    vars(target).pop("_hypothesis_internal_settings_applied", None)
    return target


if __name__ == "__main__":
    sys.exit(main())
