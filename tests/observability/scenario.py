"""One trouble after the other, told as it comes: what ``make observe`` runs."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.observability import faults
from tests.observability.faults import FaultCase
from tests.observability.performance import MonitoredProxies
from tests.observability.servers import until

PATIENCE = 300.0
"""Seconds that the alerts of a trouble have to come, and then to go."""

CALM = 8.0
"""Seconds of quiet before each trouble, and of one without an alert, for those who look."""

CASES: Sequence[tuple[str, FaultCase]] = (
    ("south", faults.NO_TOKENS),
    ("south", faults.REFUSED_CLIENT),
    ("south", faults.REFUSED_INSTITUTION),
    ("south", faults.THROTTLED),
    ("north", faults.BANK_FAILS),
    ("north", faults.BANK_SLOW),
    ("north", faults.FULL),
    ("south", faults.NO_STORE),
    ("south", faults.REVOKED),
    ("south", faults.BAD_ROTATION),
    ("north", faults.BAD_CONFIGURATION),
    ("south", faults.OLD_CERTIFICATE),
    ("north", faults.BAD_CALLERS),
    ("south", faults.STARVED),
)
"""Which proxy has which trouble."""


def chosen(only: str) -> Iterator[tuple[str, FaultCase]]:
    """Return what is in the programme with this in its title."""
    return ((name, one) for name, one in CASES if only.lower() in one.title.lower())


@dataclass(frozen=True)
class ScenarioReporter:
    """Tells of troubles and alerts. ``since`` is when it began, in Unix time."""

    proxies: MonitoredProxies
    write: Callable[[str], None]
    since: float
    reported: dict[FaultCase, float] = field(default_factory=dict)
    """When all alerts of a trouble had come, in Unix time."""

    async def run(self, only: str = "") -> list[str]:
        """Go through the troubles with this in their titles; return those that no alert told of.

        Who wants one of them wants it now: there is no calm before it then.
        """
        silent = []
        for name, case in chosen(only):
            await asyncio.sleep(0 if only else CALM)
            if not await self._run_case(name, case):
                silent.append(case.title)
        return silent

    async def _run_case(self, name: str, case: FaultCase) -> bool:
        self._say(f"{name}: {case.title}.")
        known = await self._firing()
        fired: set[str] = set()

        async def all_fired() -> bool:
            for alert, words in (await self._firing()).items():
                if alert not in known and alert not in fired:
                    self._say(words)
                fired.add(alert)
            return case.alerts <= fired

        async with case.fault(self.proxies.bank, self.proxies.proxies[name]):
            # The one without an alert is there to be seen on the dashboard.
            await asyncio.sleep(0 if case.alerts else CALM)
            came = await until(all_fired, PATIENCE)
        self.reported[case] = time.time()
        if not came:
            self._say(f"    no {', '.join(sorted(case.alerts - fired))}")
        await until(lambda: self._has_cleared(case), PATIENCE)
        self._say("    It is over.")
        return came

    async def _firing(self) -> dict[str, str]:
        """Return the alerts that fire, each with what it says."""
        return {
            alert["labels"]["alertname"].removeprefix("CandescentProxy"): (
                f"    {alert['labels']['severity']:8} {alert['labels']['alertname']}: "
                f"{alert['annotations']['description']}"
            )
            for alert in await self.proxies.prometheus.firing()
        }

    async def _has_cleared(self, case: FaultCase) -> bool:
        """Whether none of its own alerts fires any more; the budget's take their time."""
        own = case.alerts - {"ErrorBudgetBurn"}
        return own.isdisjoint(await self._firing())

    def _say(self, text: str) -> None:
        self.write(f"{time.time() - self.since:5.0f} s  {text}")
