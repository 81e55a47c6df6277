"""The simulation against real proxies: the same small plan, played both ways."""

from dataclasses import replace

import pytest

from bench.fleet import real
from bench.fleet.__main__ import settled_later
from bench.fleet.books import Figures, figures
from bench.fleet.plan import Plan
from bench.fleet.play import played
from tests.support import needs

BOUND = 0.2
"""The share by which the simulated calls may differ from the real ones; bench/fleet says so."""

SMALL = Plan(
    "small",
    pods=4,
    institutions=2,
    lifetime=3.0,
    spike=None,
    latency=(0.005, 0.005),
    needed_within=0.0,
    watched=(0.0, 6.0),
)


async def both(plan: Plan) -> tuple[Figures, Figures]:
    """Return the figures of real proxies, and of the simulation on average."""
    measured = figures(plan, await real.play(plan, settled=True))
    return measured, played(settled_later(plan))


async def test_proxies_without_a_store_ask_as_often_as_simulated() -> None:
    """Each of them once a lifetime and institution."""
    measured, simulated = await both(SMALL)
    assert simulated.calls > 20
    assert measured.calls == pytest.approx(simulated.calls, rel=BOUND)
    assert measured.refused == simulated.refused == 0


@needs.programs("redis-server")
async def test_proxies_with_a_store_ask_as_often_as_simulated() -> None:
    """One of them once a lifetime and institution; a call more or less lies at the edges."""
    measured, simulated = await both(replace(SMALL, has_store=True))
    assert simulated.calls < 15
    assert measured.calls == pytest.approx(simulated.calls, rel=BOUND, abs=SMALL.institutions)
    assert measured.refused == 0
