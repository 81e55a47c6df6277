"""The simulated bank: the sandbox's limits, and the outages of the plan."""

from collections.abc import Callable
from random import Random

from bench.fleet.call_log import CallLog
from bench.fleet.heap import Heap
from bench.fleet.plan import Plan, within
from proxy.errors import TokenFailure, kinds
from proxy.sandbox.request_limits import RequestLimits

OnResponse = Callable[[float, TokenFailure | None], None]
"""Called with the time of the request and the failure, if any."""

QUOTA_WINDOW = 60.0


class SimulatedBank:
    """Responds to token calls after the plan's latency."""

    def __init__(self, plan: Plan, heap: Heap, random: Random, log: CallLog) -> None:
        self._plan = plan
        self._heap = heap
        self._random = random
        self._log = log
        self._limits = RequestLimits()

    def ask(self, answer: OnResponse) -> None:
        """Accept a call; whether it succeeds is decided on arrival."""
        now = self._heap.now
        failure = self._failure(now)
        self._log.calls.append((now, failure is None))
        self._heap.after(self._random.uniform(*self._plan.latency), answer, now, failure)

    def _failure(self, now: float) -> TokenFailure | None:
        if within(self._plan.bank_down, now):
            return self._plan.outage
        over = self._limits.exceeded(
            "client", now, quota=self._plan.quota, window=QUOTA_WINDOW, spike=self._plan.spike
        )
        return kinds.TOKEN_THROTTLED if over else None
