"""The simulated store: a record for each institution, with its lease.

It implements the program's Lua scripts in Python, as far as decisions depend on
them; fencing is not needed, because no pod is suspended during a call.
"""

from dataclasses import dataclass

from bench.fleet.heap import Heap
from bench.fleet.plan import Plan, within
from proxy.errors import TokenFailure
from proxy.tokens.fleet.encryption import RefusalEntry


@dataclass(slots=True)
class Issue:
    """A token: when it was requested, when it expires, and which pod requested it."""

    asked: float
    dies: float


@dataclass(slots=True)
class SimulatedRecord:
    """The record of one institution. Times are the heap's."""

    issue: Issue | None = None
    written: float = 0.0
    leased_until: float = 0.0
    refusal: TokenFailure | None = None
    refused_until: float = 0.0
    failures: int = 0
    met_by: str = ""

    def publish(self, issue: Issue, now: float) -> None:
        """Write a token, which ends the lease and clears the refusal."""
        self.issue, self.written = issue, now
        self.leased_until, self.refusal, self.failures = 0.0, None, 0

    @property
    def refusal_entry(self) -> RefusalEntry | None:
        """The last failure as the store has it."""
        if self.refusal is None:
            return None
        return RefusalEntry(self.refusal, "", self.failures, self.refused_until, self.met_by)


class SimulatedStore:
    """The records, and the outages of the store."""

    def __init__(self, plan: Plan, heap: Heap) -> None:
        self._plan = plan
        self._heap = heap
        self.records = [SimulatedRecord() for _ in range(plan.institutions)]

    @property
    def is_there(self) -> bool:
        """Whether it is available now."""
        return self.was_there(self._heap.now)

    def was_there(self, when: float) -> bool:
        """Whether it was available at a time."""
        return not within(self._plan.store_down, when)
