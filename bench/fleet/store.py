"""The simulated store: a record for each institution, and who holds its lease.

It does in plain Python what the program's Lua scripts do in Redis, as far as decisions depend on
it; fences are not needed here, because nobody is stopped and wakes.
"""

from dataclasses import dataclass

from bench.fleet.heap import Heap
from bench.fleet.plan import Plan, within
from proxy.errors import TokenFailure


@dataclass(slots=True)
class Issue:
    """A token: when the bank was asked for it, when it dies, and who got it."""

    asked: float
    dies: float


@dataclass(slots=True)
class SimulatedRecord:
    """One institution in the store. Times as the heap has them."""

    issue: Issue | None = None
    written: float = 0.0
    leased_until: float = 0.0
    refusal: TokenFailure | None = None
    refused_until: float = 0.0
    refusals: int = 0

    def publish(self, issue: Issue, now: float) -> None:
        """Put a token there, which ends the lease and forgets refusals."""
        self.issue, self.written = issue, now
        self.leased_until, self.refusal, self.refusals = 0.0, None, 0


class SimulatedStore:
    """The records, while the store is there."""

    def __init__(self, plan: Plan, heap: Heap) -> None:
        self._plan = plan
        self._heap = heap
        self.records = [SimulatedRecord() for _ in range(plan.institutions)]

    @property
    def is_there(self) -> bool:
        """Whether it answers now."""
        return self.was_there(self._heap.now)

    def was_there(self, when: float) -> bool:
        """Whether it answered then."""
        return not within(self._plan.store_down, when)
