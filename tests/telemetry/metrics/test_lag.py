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
    """A stall counts for each timer that was due during it: 0.34, 0.24, 0.14 and 0.04 s late."""
    world = FakeLoop(0.0, 0.02, 0.34)
    lag = LoopLagCollector(lambda: world.now, world.sleep)
    with suppress(asyncio.CancelledError):
        await lag.run()
    found = buckets(lag, "event_loop_lag_seconds")
    assert (found["0.0001"], found["0.025"], found["0.1"]) == (1, 2, 3)
    assert (found["0.25"], found["0.5"]) == (5, 6)
    assert value(lag, "event_loop_lag_seconds_sum") == pytest.approx(0.78)


async def test_suspended_machine_is_not_late_for_long() -> None:
    """A day asleep counts for at most a minute."""
    world = FakeLoop(86_400.0)
    lag = LoopLagCollector(lambda: world.now, world.sleep)
    with suppress(asyncio.CancelledError):
        await lag.run()
    assert value(lag, "event_loop_lag_seconds_count") == 600


async def test_stalls_between_timers_are_seen() -> None:
    """Fifteen stalls of 300 ms in 30 s are a tenth and more of what is observed."""
    world = FakeLoop(*([0.0] * 17 + [0.3 - INTERVAL / 2]) * 15)
    lag = LoopLagCollector(lambda: world.now, world.sleep)
    with suppress(asyncio.CancelledError):
        await lag.run()
    found = buckets(lag, "event_loop_lag_seconds")
    assert found["+Inf"] - found["0.025"] >= 0.1 * found["+Inf"]
    assert found["+Inf"] - found["0.1"] >= 15


async def test_early_timer_is_on_time() -> None:
    """As with coarse clocks."""
    world = FakeLoop(-0.001)
    lag = LoopLagCollector(lambda: world.now, world.sleep)
    with suppress(asyncio.CancelledError):
        await lag.run()
    assert value(lag, "event_loop_lag_seconds_sum") == 0


async def test_ten_timers_per_second() -> None:
    """An idle proxy does no more."""
    world = FakeLoop(0.0, 0.0, 0.0)
    with suppress(asyncio.CancelledError):
        await LoopLagCollector(lambda: world.now, world.sleep).run()
    assert world.slept == [INTERVAL] * 3
    assert INTERVAL >= 0.1
