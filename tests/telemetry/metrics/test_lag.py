"""Event loop lag: lateness of timers."""

import asyncio
from contextlib import suppress

import pytest

from proxy.telemetry.metrics.lag import INTERVAL, LoopLagCollector
from tests.telemetry.metrics.reading import buckets, value


class FakeLoop:
    """A clock, and a sleep with given durations."""

    def __init__(self, *lates: float) -> None:
        self.now = 100.0
        self.lates = list(lates)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        if not self.lates:
            raise asyncio.CancelledError
        self.slept.append(seconds)
        self.now += seconds + self.lates.pop(0)


async def test_lateness_is_observed() -> None:
    """A timer after a blocked loop is late."""
    world = FakeLoop(0.0, 0.02, 0.4)
    lag = LoopLagCollector(lambda: world.now, world.sleep)
    with suppress(asyncio.CancelledError):
        await lag.run()
    found = buckets(lag, "event_loop_lag_seconds")
    assert (found["0.0001"], found["0.025"], found["0.5"]) == (1, 2, 3)
    assert value(lag, "event_loop_lag_seconds_sum") == pytest.approx(0.42)


async def test_early_timer_is_on_time() -> None:
    """As with coarse clocks."""
    world = FakeLoop(-0.001)
    lag = LoopLagCollector(lambda: world.now, world.sleep)
    with suppress(asyncio.CancelledError):
        await lag.run()
    assert value(lag, "event_loop_lag_seconds_sum") == 0


async def test_one_timer_per_second() -> None:
    """An idle proxy does no more."""
    world = FakeLoop(0.0, 0.0, 0.0)
    with suppress(asyncio.CancelledError):
        await LoopLagCollector(lambda: world.now, world.sleep).run()
    assert world.slept == [INTERVAL] * 3
    assert INTERVAL >= 1
