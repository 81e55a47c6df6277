"""``make observe``: a bank, two proxies, clients, faults, Prometheus and Alertmanager.

Prints the addresses, then causes one fault after the other and prints the alerts, without end or
with ``--once`` once. Exit code 1 if an alert did not fire.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from proxy.runtime.serve import run, stop_signal
from tests.observability import faults
from tests.observability.faster import FACTOR, shorter
from tests.observability.performance import MonitoredProxies, called, monitored_proxies
from tests.observability.pictures import Span, draw
from tests.observability.scenario import ScenarioReporter, chosen
from tools.dashboard import whole

PROXIES = ("north", "south")
IMAGES = Path(__file__).parents[2] / "docs/images"


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="make observe", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the last trouble")
    parser.add_argument(
        "--pictures", action="store_true", help="the same, and draw the dashboard into docs/images"
    )
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only troubles with this in their title"
    )
    arguments = parser.parse_args()
    if arguments.pictures and arguments.only:
        parser.error("--pictures shows all troubles; leave --only out")
    if not list(chosen(arguments.only)):
        parser.error(f"no trouble has {arguments.only} in its title")
    with tempfile.TemporaryDirectory() as folder:
        return run(_observe(Path(folder), arguments))


async def _observe(folder: Path, arguments: argparse.Namespace) -> int:
    silent = []
    async with (
        monitored_proxies(folder, PROXIES, tls=["south"], sharing=PROXIES, fleet="demo") as here,
        called(here.proxies.values()),
    ):
        _introduce(here)
        reporter = ScenarioReporter(here, _tell, time.time())
        if arguments.once or arguments.pictures:
            silent = await reporter.run(arguments.only)
        else:
            await _until_enough(reporter, arguments.only)
        if arguments.pictures:
            files = await draw(here.prometheus, whole(), IMAGES, _spans(reporter))
            _tell("\n".join(f"drawn: {file}" for file in files))
    for title in silent:
        print(f"No alert told of this: {title}.", file=sys.stderr)
    return bool(silent)


def _spans(reporter: ScenarioReporter) -> dict[str, Span]:
    """Return the rows to draw, each with its most informative period."""
    # Five minutes of the rules, as with a scrape interval of about a minute.
    interval = shorter("5m", FACTOR)
    end = time.time()
    return {
        "Now": Span(reporter.since, reporter.reported[faults.NO_TOKENS], interval),
        "Requests": Span(reporter.since, end, interval),
        "Time": Span(reporter.since, end, interval),
        "Tokens": Span(reporter.since, reporter.reported[faults.THROTTLED] + 15, interval),
        "Who fetches?": Span(reporter.since, end, interval),
    }


async def _until_enough(reporter: ScenarioReporter, only: str) -> None:
    """Repeat all faults until the process is ended."""
    stop: asyncio.Future[str] = stop_signal()

    async def for_ever() -> None:
        while True:
            await reporter.run(only)

    task = asyncio.create_task(for_ever())
    await stop
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _introduce(here: MonitoredProxies) -> None:
    _tell(
        f"Prometheus    {here.prometheus.url}/alerts and /graph; its rules sixty times as fast\n"
        f"Alertmanager  {here.alertmanager.url}/"
    )
    for name, proxy in here.proxies.items():
        insecure = "-k " if proxy.authority else ""
        _tell(
            f"{name:12}  http://{proxy.running.admin}/ (status page, /metrics, /readyz)\n"
            f"{'':12}  curl {insecure}{proxy.url}/echo/hello"
        )
    _tell(
        "The dashboard is deploy/grafana/dashboard.json, for a Grafana that reads this Prometheus."
    )
    _tell("Ctrl-C ends it.\n")


def _tell(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
