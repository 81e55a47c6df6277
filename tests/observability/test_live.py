"""A real Prometheus with proxies in every fault that has an alert."""

import asyncio
import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.observability import faults
from tests.observability.cases import alerts
from tests.observability.faster import faster
from tests.observability.faults import FaultCase
from tests.observability.panels import FLEET, panel_queries, panels, rows
from tests.observability.performance import MonitoredProxies, called, monitored_proxies, rules
from tests.observability.pictures import Span, draw
from tests.observability.servers import prometheus, until
from tools.dashboard import whole

pytestmark = pytest.mark.machine_clock  # Prometheus keeps it

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
PLAN: Mapping[str, Sequence[FaultCase]] = {
    "calm": (),
    "tokens": (
        faults.NO_TOKENS,
        faults.REFUSED_CLIENT,
        faults.REFUSED_INSTITUTION,
        faults.THROTTLED,
        faults.SLOW_TOKENS,
    ),
    "bank": (faults.BANK_FAILS, faults.BROKEN_RESPONSES),
    "slow": (faults.BANK_SLOW,),
    "full": (faults.FULL,),
    "secrets": (faults.BAD_ROTATION,),
    "changes": (faults.OLD_CERTIFICATE, faults.BAD_CALLERS, faults.NO_TLS, faults.FULL_DISK),
    "starved": (faults.STARVED,),
    "revoked": (faults.REVOKED, faults.REFUSED_TOKENS),
    "sharing": (faults.GARBAGE, faults.SIBLING_OF_NO_STORE),
    "sibling": (faults.GARBAGE, faults.NO_STORE, faults.BAD_CONFIGURATION),
    "killed": (faults.KILLED,),
}
"""Proxies, each with its troubles."""

Alert = tuple[str, str]
"""The namespace of a proxy, and an alert's name without CandescentProxy."""

PATIENCE = 300.0
"""Seconds that everything has to happen in; on an idle machine it takes a tenth of that."""


def test_every_alert_has_a_fault() -> None:
    """Except two that cannot be caused here."""
    reported = {alert for those in PLAN.values() for one in those for alert in one.alerts}
    names = {rule["alert"].removeprefix("CandescentProxy") for rule in alerts(rules())}
    assert names - reported == {"Absent", "AddsLatency"}
    assert reported <= names


async def test_each_fault_fires_its_alert(
    tmp_path: Path,
) -> None:
    """No other alert fires, none without a fault, and every panel has data.

    Prometheus accepts every query of the runbooks, and Alertmanager inhibits dependent alerts.
    """
    tls = [name for name, those in PLAN.items() if any(one.tls for one in those)]
    async with (
        monitored_proxies(tmp_path, PLAN, tls=tls, sharing=("sharing", "sibling")) as here,
        called(here.proxies.values()),
        AsyncExitStack() as stack,
    ):
        await _is_scraped(here)
        assert not [one for one in await _fired(here) if not _is_the_machine(one[1])]
        for name, those in PLAN.items():
            for case in those:
                await stack.enter_async_context(case.fault(here.bank, here.proxies[name]))
        missing = await _missing(here)
        assert missing == set()
        assert await _unexpected(here) == set()
        assert await until(lambda: _passed_on(here), PATIENCE)
        assert await _inhibited(here) >= {"TokenRefreshFailing"}
        assert await until(lambda: _all_shown(here), PATIENCE), await _blank(here)
        assert len(await _drawn(here, tmp_path)) == len(list(rows(whole()))) - 1
        for expr in {query for page in RUNBOOKS.glob("*.md") for query in queries(page)}:
            await here.prometheus.query(expr)


async def test_missing_proxies_fire_an_alert(tmp_path: Path) -> None:
    """The only one that can."""
    async with prometheus(tmp_path / "prometheus", faster(rules()), {}) as reading:

        async def reported() -> bool:
            return bool(await reading.has_fired())

        assert await until(reported, PATIENCE)
        (labels,) = await reading.has_fired()
        assert labels["alertname"] == "CandescentProxyAbsent"


def queries(page: Path) -> list[str]:
    """Return the queries of a runbook."""
    blocks = re.findall(r"```promql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [" ".join(block.split()) for block in blocks]


async def _is_scraped(here: MonitoredProxies) -> None:
    """Wait until Prometheus has scraped all for some minutes of its rules."""

    async def often() -> bool:
        counts = await here.prometheus.query("sum_over_time(up[1m])")
        return len(counts) == len(PLAN) and all(count >= 5 for _, count in counts)

    assert await until(often, PATIENCE)


async def _fired(here: MonitoredProxies) -> list[tuple[Alert, Mapping[str, str]]]:
    """Return the alerts that have fired: namespace, name, and all labels."""
    return [
        ((one.get("namespace", ""), one["alertname"].removeprefix("CandescentProxy")), one)
        for one in await here.prometheus.has_fired()
    ]


def _is_the_machine(labels: Mapping[str, str]) -> bool:
    """Whether an alert is about CPU, which is scarce with a dozen proxies."""
    lagging = labels["alertname"] == "CandescentProxyEventLoopLag"
    return lagging or labels.get("slo") == "own_latency"


async def _missing(here: MonitoredProxies) -> set[Alert]:
    """Wait for every expected alert; return the missing ones."""
    due = {(name, alert) for name, those in PLAN.items() for one in those for alert in one.alerts}

    async def missing() -> set[Alert]:
        return due - {alert for alert, _ in await _fired(here)}

    async def nothing_missing() -> bool:
        return not await missing()

    await until(nothing_missing, PATIENCE)
    return await missing()


async def _unexpected(here: MonitoredProxies) -> set[Alert]:
    """Return the alerts without a fault."""
    allowed = {
        (name, alert)
        for name, those in PLAN.items()
        for one in those
        for alert in one.alerts | one.also
    }
    fired = {alert for alert, labels in await _fired(here) if not _is_the_machine(labels)}
    return fired - allowed


async def _passed_on(here: MonitoredProxies) -> bool:
    """Whether Alertmanager has all firing alerts."""
    firing = {(one["labels"]["alertname"]) for one in await here.prometheus.firing()}
    held = {one["labels"]["alertname"] for one in await here.alertmanager.alerts()}
    return firing <= held


async def _inhibited(here: MonitoredProxies) -> set[str]:
    """Return the alerts that Alertmanager inhibits."""
    return {
        one["labels"]["alertname"].removeprefix("CandescentProxy")
        for one in await here.alertmanager.alerts()
        if one["status"]["inhibitedBy"]
    }


async def _drawn(here: MonitoredProxies, folder: Path) -> list[Path]:
    """Draw every row but the folded one; return the files with content."""
    now = time.time()
    spans = {title: Span(now - 20, now, "5s") for title, _ in rows(whole())}
    spans = {title: span for title, span in spans.items() if "$" not in title}
    files = await draw(here.prometheus, whole(), folder, spans)
    return [file for file in files if file.read_bytes().startswith(b"\x89PNG")]


async def _all_shown(here: MonitoredProxies) -> bool:
    return not await _blank(here)


async def _blank(here: MonitoredProxies) -> list[str]:
    """Return the dashboard's queries without data, for the fleet and for one proxy."""
    dashboard = whole()
    everything = [
        query for panel in panels(dashboard) for query in panel_queries(panel, FLEET, "5s")
    ]
    one = FLEET | {"instance": here.proxies["calm"].running.admin}
    (row,) = (panel for panel in dashboard["panels"] if panel.get("repeat") == "instance")
    everything += [query for panel in row["panels"] for query in panel_queries(panel, one, "5s")]
    now = time.time()
    shown = await asyncio.gather(
        *(here.prometheus.series(query.expr, now - 20, now, 1) for query in everything)
    )
    return [
        f"{query.title} {query.legend}: {query.expr}"
        for query, series in zip(everything, shown, strict=True)
        if not any(
            query.name(labels).strip() and not math.isnan(value)
            for labels, values in series
            for _, value in values
        )
    ]
