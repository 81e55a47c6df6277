"""The lag of the event loop, which delays every request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.metrics.families import histogram
from proxy.telemetry.metrics.histogram import FINE_BUCKETS, Histogram

INTERVAL = 0.1
"""Seconds between two timers."""

_MOST = 600
"""Timers of one stall that count: a minute. A suspended machine was not late for a day."""


class LoopLagCollector(Collector):
    """Measures how late timers fire; uvloop's have a resolution of one millisecond.

    A stall also counts for each timer that would have been due during it, so that the histogram
    says how late the loop was at any moment, not how often.
    """

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
            lag = max(self._clock() - due, 0.0)
            for missed in range(min(int(lag / INTERVAL) + 1, _MOST)):
                self._lags.observe(lag - missed * INTERVAL)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield histogram(
            "event_loop_lag_seconds",
            "How late the event loop is for timers, ten a second.",
            (),
            [((), self._lags)],
        )
