"""The lag of the event loop, which delays every request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.metrics.families import histogram
from proxy.telemetry.metrics.histogram import FINE_BUCKETS, Histogram

INTERVAL = 1.0
"""Seconds between two measurements."""


class LoopLagCollector(Collector):
    """Measures how late timers fire; uvloop's have a resolution of one millisecond."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lags = Histogram(FINE_BUCKETS)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._clock() + INTERVAL
            await self._sleep(INTERVAL)
            self._lags.observe(max(self._clock() - due, 0.0))

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield histogram(
            "event_loop_lag_seconds",
            "How late the event loop is for a timer of one second.",
            (),
            [((), self._lags)],
        )
