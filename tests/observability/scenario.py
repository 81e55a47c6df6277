"""Causes one fault after the other and reports the alerts, for ``make observe``."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.observability import faults
from tests.observability.faults import FaultCase
from tests.observability.performance import MonitoredProxies
from tests.observability.servers import until

PATIENCE = 300.0
"""Seconds within which the alerts of a fault must fire, and then be resolved."""

CALM = 8.0
"""Seconds without a fault before each one, and the duration of a fault without an alert."""

CASES: Sequence[tuple[str, FaultCase]] = (
    ("south", faults.NO_TOKENS),
    ("south", faults.REFUSED_CLIENT),
    ("south", faults.REFUSED_INSTITUTION),
    ("south", faults.THROTTLED),
    ("south", faults.SLOW_TOKENS),
    ("north", faults.REFUSED_TOKENS),
    ("north", faults.BANK_FAILS),
    ("north", faults.BROKEN_RESPONSES),
    ("north", faults.BANK_SLOW),
    ("north", faults.FULL),
    ("south", faults.NO_STORE),
    ("south", faults.REVOKED),
    ("south", faults.BAD_ROTATION),
    ("north", faults.BAD_CONFIGURATION),
    ("south", faults.OLD_CERTIFICATE),
    ("north", faults.BAD_CALLERS),
    ("south", faults.NO_TLS),
    ("north", faults.FULL_DISK),
    ("south", faults.STARVED),
)
"""The faults, each with its proxy."""


def chosen(only: str) -> Iterator[tuple[str, FaultCase]]:
    """Return the cases with this text in their title."""
    return ((name, one) for name, one in CASES if only.lower() in one.title.lower())


@dataclass(frozen=True)
class ScenarioReporter:
    """Reports faults and alerts. ``since`` is its start in Unix time."""

    proxies: MonitoredProxies
    write: Callable[[str], None]
    since: float
    reported: dict[FaultCase, float] = field(default_factory=dict)
    """When all alerts of a fault had fired, in Unix time."""

    async def run(self, only: str = "") -> list[str]:
        """Cause the faults with this text in their titles; return those without their alerts.

        A single fault is caused at once, without a time before it.
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
            # A fault without an alert is visible on the dashboard only.
            await asyncio.sleep(0 if case.alerts else CALM)
            came = await until(all_fired, PATIENCE)
        self.reported[case] = time.time()
        if not came:
            self._say(f"    no {', '.join(sorted(case.alerts - fired))}")
        await until(lambda: self._has_cleared(case), PATIENCE)
        self._say("    It is over.")
        return came

    async def _firing(self) -> dict[str, str]:
        """Return the firing alerts with their texts."""
        return {
            alert["labels"]["alertname"].removeprefix("CandescentProxy"): (
                f"    {alert['labels']['severity']:8} {alert['labels']['alertname']}: "
                f"{alert['annotations']['description']}"
            )
            for alert in await self.proxies.prometheus.firing()
        }

    async def _has_cleared(self, case: FaultCase) -> bool:
        """Whether its own alerts are resolved; those of the error budget take longer."""
        own = case.alerts - {"ErrorBudgetBurn"}
        return own.isdisjoint(await self._firing())

    def _say(self, text: str) -> None:
        self.write(f"{time.time() - self.since:5.0f} s  {text}")
