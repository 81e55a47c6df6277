"""All of it together, for so long: acts of storm and of calm, and what came of them."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM

from tests.soak import faults
from tests.soak.callers import Book, Caller
from tests.soak.promises import Fate
from tests.soak.reconfiguration import household
from tests.soak.setup import World, world
from tests.support.running import until

CALLERS = 24


@dataclass(frozen=True)
class Plan:
    """How long, and how fast things change. All in seconds."""

    seconds: float
    storm: float = 20.0
    calm: float = 9.0
    pace: float = 2.0
    rest: float = 0.05
    seed: int = 1


@dataclass
class Footprint:
    """What the proxy takes up at a moment: bytes of memory, open files."""

    resident: int
    descriptors: int


@dataclass
class Outcome:
    """What came of it. ``broken`` are promises, each with what broke it; it must be empty."""

    plan: Plan
    seconds: float
    book: Book
    spells: dict[str, int]
    arrivals: int
    sent: int
    unsafe: int
    payments: int
    tokens: int
    latest: float
    taken: float
    refused: float
    replays: float
    start: Footprint
    end: Footprint
    broken: list[str] = field(default_factory=list)


async def soak(folder: Path, plan: Plan) -> Outcome:
    """Run the plan; ``folder`` takes secrets and configuration."""
    loop = asyncio.get_running_loop()
    async with world(folder, plan.seed) as here:
        book, stop, began = Book(), asyncio.Event(), loop.time()
        descriptors = footprint(here).descriptors
        crew = [
            asyncio.create_task(Caller(here, book, number).run(stop, plan.rest))
            for number in range(CALLERS)
        ]
        start = await _warmed(here, book, plan, descriptors)
        end = began + plan.seconds
        while loop.time() < end:
            await _storm(here, min(loop.time() + plan.storm, end), plan.pace)
            await _calm(here, min(loop.time() + plan.calm, end + plan.calm), plan.pace)
        stop.set()
        await asyncio.gather(*crew)
        seconds = loop.time() - began
        await until(lambda: here.bank.connections <= 2)
        outcome = await _outcome(here, book, plan, seconds, start)
        await _ends_well(here, outcome)
        return outcome


async def _warmed(here: World, book: Book, plan: Plan, descriptors: int) -> Footprint:
    """Let the load run until memory is what it takes; a fifth of the time, a minute at most."""
    await _calm(here, asyncio.get_running_loop().time() + min(plan.seconds / 5, 60), plan.pace)
    assert book.total, "nobody was answered"
    return Footprint(here.proxy.resident(), descriptors)


async def _storm(here: World, end: float, pace: float) -> None:
    await asyncio.gather(
        faults.tokens_track(here, until=end, pace=pace),
        faults.bank_track(here, until=end, pace=pace),
        faults.network_track(here, until=end, pace=pace),
        household(here, until=end, pace=pace),
    )


async def _calm(here: World, end: float, pace: float) -> None:
    await household(here, until=end, pace=pace)


def footprint(here: World) -> Footprint:
    """Return what the proxy takes up now."""
    return Footprint(here.proxy.resident(), len(here.proxy.descriptors()))


async def _outcome(here: World, book: Book, plan: Plan, seconds: float, warm: Footprint) -> Outcome:
    sample = here.proxy.sample
    bank = here.bank.bank
    return Outcome(
        plan=plan,
        seconds=seconds,
        book=book,
        spells=here.sky.counts,
        arrivals=here.ledger.arrivals,
        sent=here.ledger.sent,
        unsafe=here.ledger.unsafe,
        payments=sum(bank.transfers.values()),
        tokens=bank.counts["issued"],
        latest=here.ledger.latest,
        taken=await sample("candescent_proxy_reloads_total", result="success"),
        refused=await sample("candescent_proxy_reloads_total", result="failure"),
        replays=await sample("candescent_proxy_replays_total"),
        start=warm,
        end=footprint(here),
        broken=[*_broken(here, book, warm, plan)],
    )


def _broken(here: World, book: Book, warm: Footprint, plan: Plan) -> list[str]:
    """Return every promise that was not kept."""
    found = list(book.broken)
    found += [f"{times} times: {what}" for what, times in here.ledger.broken.items()]
    transfers = here.bank.bank.transfers
    found += [
        f"payment {one} was made {times} times" for one, times in transfers.items() if times > 1
    ]
    found += [
        f"payment {one} was confirmed, and made {transfers[one]} times"
        for one, fate in book.paid.items()
        if fate is Fate.WELL and transfers[one] != 1
    ]
    now = footprint(here)
    allowance = 40_000_000 if plan.seconds < 120 else 20_000_000
    if now.resident > warm.resident + allowance:
        found.append(f"memory grew from {warm.resident} to {now.resident} bytes")
    if now.descriptors > warm.descriptors + 8:
        found.append(f"open files grew from {warm.descriptors} to {now.descriptors}")
    found += [f"log: {line}" for line in here.proxy.program.err if "internal error" in line]
    return found


async def _ends_well(here: World, outcome: Outcome) -> None:
    """Stop the proxy; it must end in order."""
    code = await here.proxy.program.end(SIGTERM)
    if code != 0:
        outcome.broken.append(f"the proxy ended with {code}")
