"""Runs the soak test: alternating phases with and without faults."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM

from tests.soak import faults
from tests.soak.callers import Caller, Outcomes
from tests.soak.promises import RequestOutcome
from tests.soak.reconfiguration import reconfigure
from tests.soak.setup import SoakSetup, soak_setup
from tests.support.running import until

CALLERS = 24


@dataclass(frozen=True)
class Plan:
    """Durations and pace of a run, in seconds."""

    seconds: float
    faulty_seconds: float = 20.0
    quiet_seconds: float = 9.0
    pace: float = 2.0
    rest: float = 0.05
    seed: int = 1


@dataclass
class Footprint:
    """The proxy's memory in bytes and its open files."""

    resident: int
    descriptors: int


@dataclass
class SoakReport:
    """The result. ``broken`` lists the violations and must be empty."""

    plan: Plan
    seconds: float
    outcomes: Outcomes
    fault_periods: dict[str, int]
    arrivals: int
    sent: int
    unsafe: int
    payments: int
    tokens: int
    latest: float
    reloads_succeeded: float
    reloads_failed: float
    replays: float
    start: Footprint
    end: Footprint
    broken: list[str] = field(default_factory=list)


async def soak(folder: Path, plan: Plan) -> SoakReport:
    """Run the plan; ``folder`` is for secrets and configuration."""
    loop = asyncio.get_running_loop()
    async with soak_setup(folder, plan.seed) as setup:
        outcomes, stop, began = Outcomes(), asyncio.Event(), loop.time()
        descriptors = footprint(setup).descriptors
        crew = [
            asyncio.create_task(Caller(setup, outcomes, number).run(stop, plan.rest))
            for number in range(CALLERS)
        ]
        start = await _warmed(setup, outcomes, plan, descriptors)
        end = began + plan.seconds
        while loop.time() < end:
            await _faulty_phase(setup, min(loop.time() + plan.faulty_seconds, end), plan.pace)
            await _quiet_phase(
                setup, min(loop.time() + plan.quiet_seconds, end + plan.quiet_seconds), plan.pace
            )
        stop.set()
        await asyncio.gather(*crew)
        seconds = loop.time() - began
        await until(lambda: setup.bank.connections <= 2)
        outcome = await _outcome(setup, outcomes, plan, seconds, start)
        await _ends_well(setup, outcome)
        return outcome


async def _warmed(setup: SoakSetup, outcomes: Outcomes, plan: Plan, descriptors: int) -> Footprint:
    """Run the load until memory is stable: a fifth of the time, at most a minute."""
    await _quiet_phase(
        setup, asyncio.get_running_loop().time() + min(plan.seconds / 5, 60), plan.pace
    )
    assert outcomes.total, "nobody was answered"
    return Footprint(setup.proxy.resident(), descriptors)


async def _faulty_phase(setup: SoakSetup, end: float, pace: float) -> None:
    await asyncio.gather(
        faults.tokens_track(setup, until=end, pace=pace),
        faults.bank_track(setup, until=end, pace=pace),
        faults.network_track(setup, until=end, pace=pace),
        reconfigure(setup, until=end, pace=pace),
    )


async def _quiet_phase(setup: SoakSetup, end: float, pace: float) -> None:
    await reconfigure(setup, until=end, pace=pace)


def footprint(setup: SoakSetup) -> Footprint:
    """Return the current footprint of the proxy."""
    return Footprint(setup.proxy.resident(), len(setup.proxy.descriptors()))


async def _outcome(
    setup: SoakSetup, outcomes: Outcomes, plan: Plan, seconds: float, warm: Footprint
) -> SoakReport:
    sample = setup.proxy.sample
    bank = setup.bank.bank
    return SoakReport(
        plan=plan,
        seconds=seconds,
        outcomes=outcomes,
        fault_periods=setup.fault_schedule.counts,
        arrivals=setup.arrivals.arrivals,
        sent=setup.arrivals.sent,
        unsafe=setup.arrivals.unsafe,
        payments=sum(bank.transfers.values()),
        tokens=bank.counts["issued"],
        latest=setup.arrivals.latest,
        reloads_succeeded=await sample("candescent_proxy_reloads_total", result="success"),
        reloads_failed=await sample("candescent_proxy_reloads_total", result="failure"),
        replays=await sample("candescent_proxy_replays_total"),
        start=warm,
        end=footprint(setup),
        broken=[*_broken(setup, outcomes, warm, plan)],
    )


def _broken(setup: SoakSetup, outcomes: Outcomes, warm: Footprint, plan: Plan) -> list[str]:
    """Return all violations."""
    found = list(outcomes.broken)
    found += [f"{times} times: {what}" for what, times in setup.arrivals.broken.items()]
    transfers = setup.bank.bank.transfers
    found += [
        f"payment {one} was made {times} times" for one, times in transfers.items() if times > 1
    ]
    found += [
        f"payment {one} was confirmed, and made {transfers[one]} times"
        for one, result in outcomes.payments.items()
        if result is RequestOutcome.OK and transfers[one] != 1
    ]
    now = footprint(setup)
    allowance = 40_000_000 if plan.seconds < 120 else 20_000_000
    if now.resident > warm.resident + allowance:
        found.append(f"memory grew from {warm.resident} to {now.resident} bytes")
    if now.descriptors > warm.descriptors + 8:
        found.append(f"open files grew from {warm.descriptors} to {now.descriptors}")
    found += [f"log: {line}" for line in setup.proxy.program.err if "internal error" in line]
    return found


async def _ends_well(setup: SoakSetup, outcome: SoakReport) -> None:
    """Stop the proxy and check its exit."""
    code = await setup.proxy.program.end(SIGTERM)
    if code != 0:
        outcome.broken.append(f"the proxy ended with {code}")
