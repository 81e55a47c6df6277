"""The simulated proxies, whose decisions are those of ``proxy.tokens``.

A ``Holder`` is a proxy's entry for one institution, as in the cache and the refresher. With a
store, it fetches tokens through a ``SimulatedFetch``, as ``proxy.tokens.fleet.source`` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from bench.fleet.bank import SimulatedBank
from bench.fleet.call_log import CallLog
from bench.fleet.heap import Heap
from bench.fleet.plan import Plan, within
from bench.fleet.store import Issue, SimulatedRecord, SimulatedStore
from proxy.errors import TokenFailure
from proxy.tokens.fleet.lease_policy import (
    CircuitBreaker,
    Need,
    NextAction,
    StoreState,
    failures_of_fleet,
)
from proxy.tokens.rate_limit import TokenBucket, rate_for

TRIAL = 0.5
"""Seconds of a failing store operation: the default of ``store.timeout``."""


@dataclass(slots=True)
class FleetWorld:
    """What all pods share: plan, clock, bank, store and log."""

    plan: Plan
    heap: Heap
    random: Random
    bank: SimulatedBank
    store: SimulatedStore | None
    log: CallLog


@dataclass(slots=True)
class SimulatedPod:
    """One proxy: the token bucket of its refresher, and its circuit breaker of the store."""

    name: str
    circuit: CircuitBreaker = field(default_factory=CircuitBreaker)
    allowance: TokenBucket = field(default_factory=TokenBucket)
    needed: float = 0.0
    is_ready: bool = False


class Holder:
    """A pod's entry for one institution."""

    __slots__ = (
        "_failures", "_issue", "_phase", "_pod", "_refresh_age", "_world", "institution", "plan",
    )  # fmt: skip

    def __init__(self, world: FleetWorld, pod: SimulatedPod, institution: int) -> None:
        self._world = world
        self._pod = pod
        self.institution = institution
        self.plan = world.plan
        self._issue: Issue | None = None
        self._refresh_age = 0.0
        self._failures = 0
        self._phase = world.random.random()

    def start(self) -> None:
        """Start: fetch for the pinned institution after the start delay, for others on demand."""
        random, policy = self._world.random, self.plan.policy
        if self.institution == 0:
            self._world.log.started.append(self._world.heap.now)
            self._world.heap.after(policy.start_delay(random.random()), self.due)
        else:
            self._world.heap.after(
                random.uniform(0.0, policy.start_spread + self.plan.needed_within), self.due
            )

    def due(self) -> None:
        """Fetch a token at the refresher's rate, unless the machine sleeps."""
        heap = self._world.heap
        if within(self.plan.asleep, heap.now):
            heap.at(self.plan.asleep[1], self.due)
        else:
            heap.after(self._pace(heap.now), self._ask)

    def _ask(self) -> None:
        """Call the bank or the store, unless the store has provided a newer token meanwhile."""
        world = self._world
        if self._has_followed():
            world.heap.at(self._due_at(), self.due)
            return
        if world.store is None:
            world.bank.ask(self.answered)
        else:
            SimulatedFetch(world, world.store, self._pod, self).poll()

    def left(self) -> float:
        """Return the remaining life of the current token, 0 without one."""
        return max(self._issue.dies - self._world.heap.now, 0.0) if self._issue else 0.0

    def offered(self, record: SimulatedRecord) -> float:
        """Return the remaining life of the store's token, if it is not the current one."""
        if record.issue is None or record.issue is self._issue:
            return 0.0
        return max(record.issue.dies - self._world.heap.now, 0.0)

    def answered(self, asked: float, failure: TokenFailure | None) -> None:
        """Process the bank's response."""
        if failure is None:
            self.take(Issue(asked, asked + self.plan.lifetime))
        else:
            self.failed(failure)

    def take(self, issue: Issue) -> None:
        """Install a token of the bank or of the store."""
        self._install(issue, self._world.heap.now)
        self._world.heap.at(self._due_at(), self.due)

    def failed(self, failure: TokenFailure) -> None:
        """Retry after the policy's delay."""
        self._failures += 1
        delay = self.plan.policy.retry_delay(
            failure,
            self._failures,
            self._world.random.random(),
            first=not self._refresh_age,
        )
        self._world.heap.after(delay, self.due)

    def refused(self, wait: float) -> None:
        """Retry after the fleet's wait."""
        delay = self.plan.policy.shared_delay(wait, self._world.random.random())
        self._world.heap.after(delay, self.due)

    def close(self) -> None:
        """Record a gap that lasts to the end."""
        end = self._world.heap.now
        if self._issue is not None and self._issue.dies < end:
            self._world.log.gaps.append((self._issue.dies, end))

    def _install(self, issue: Issue, now: float) -> None:
        world, pod = self._world, self._pod
        if self._issue is not None and self._issue.dies < now:
            world.log.gaps.append((self._issue.dies, now))
        if self.institution == 0 and not pod.is_ready:
            pod.is_ready = True
            world.log.ready.append(now)
        if self._refresh_age:
            pod.needed -= 1 / self._refresh_age
        self._issue, self._failures = issue, 0
        self._refresh_age = self.plan.policy.refresh_age(self.plan.lifetime, world.random.random())
        pod.needed += 1 / self._refresh_age

    def _due_at(self) -> float:
        assert self._issue is not None
        return self._issue.asked + self._refresh_age

    def _pace(self, now: float) -> float:
        """Return the seconds until the refresher may start this call, and reserve it."""
        pod = self._pod
        rate = rate_for(self.plan.policy.refresh_rate, pod.needed)
        allowance = pod.allowance.refilled(now, rate)
        pod.allowance = allowance.minus(1)
        return allowance.until_next(rate)

    def _has_followed(self) -> bool:
        """Whether the follower has provided a newer token before this one became due.

        Followers poll at their own times; the result is computed only when it matters.
        """
        store = self._world.store
        if store is None or self._issue is None:
            return False
        record = store.records[self.institution]
        every = self.plan.sharing.poll_interval(self.plan.institutions) * self.plan.institutions
        looked = record.written + self._phase * every
        while not store.was_there(looked):
            looked += every
        issue = record.issue
        if issue is None or looked > self._world.heap.now or issue.dies <= self._issue.dies:
            return False
        self._install(issue, looked)
        return True


class SimulatedFetch:
    """One attempt to get a token."""

    def __init__(
        self, world: FleetWorld, store: SimulatedStore, pod: SimulatedPod, holder: Holder
    ) -> None:
        self._world = world
        self._store = store
        self._record = store.records[holder.institution]
        self._pod = pod
        self._holder = holder
        self._policy = world.plan.sharing
        self._starved_at: float | None = None
        self._chance = world.random.random()
        self._blind: float | None = None
        self._looks = 0

    def poll(self) -> None:
        """Read the record and act on it."""
        now, circuit = self._world.heap.now, self._pod.circuit
        if not circuit.allows(now, TRIAL):
            self._without_store(now)
        elif not self._store.is_there:
            circuit.record_failure(now, self._world.random.random())
            self._without_store(now)
        else:
            circuit.record_success()
            self._blind = None
            self._with_store(now)

    def _with_store(self, now: float) -> None:
        record, holder = self._record, self._holder
        view = StoreState(
            holder.offered(record),
            max(record.leased_until - now, 0.0),
            max(record.refused_until - now, 0.0) if record.refusal else 0.0,
            record.failures > 0,
        )
        match self._policy.decide(view, self._need(now)):
            case NextAction.USE_SHARED:
                assert record.issue is not None
                holder.take(record.issue)
            case NextAction.LEASE:
                # The lease is renewed while the call runs.
                record.leased_until = float("inf")
                self._world.bank.ask(self._fetched)
            case NextAction.REFUSE:
                holder.refused(max(view.refusal_left, self._policy.probe_wait))
            case NextAction.TIME_OUT:
                holder.refused(self._policy.probe_wait)
            case NextAction.WAIT:
                self._wait_for_poll(now)

    def _without_store(self, now: float) -> None:
        self._blind = now if self._blind is None else self._blind
        match self._policy.decide_without_store(self._need(now), now - self._blind):
            case NextAction.FETCH_DIRECTLY:
                self._world.bank.ask(self._holder.answered)
            case NextAction.TIME_OUT:
                self._holder.refused(self._policy.probe_wait)
            case _:
                self._wait_for_poll(now)

    def _fetched(self, asked: float, failure: TokenFailure | None) -> None:
        now, record = self._world.heap.now, self._record
        if failure is None:
            issue = Issue(asked, asked + self._world.plan.lifetime)
            if self._store.is_there:
                record.publish(issue, now)
            else:
                record.leased_until = now  # the lease expires without a write
            self._holder.take(issue)
            return
        record.leased_until = 0.0
        record.failures = failures_of_fleet(record.refusal_entry, failure, self._pod.name)
        record.refusal, record.met_by, record.refused_until = failure, self._pod.name, now
        if record.failures:
            record.refused_until += self._policy.probe_delay(
                self._world.plan.policy,
                failure,
                record.failures,
                self._world.random.random(),
                None,
            )
        self._holder.failed(failure)

    def _wait_for_poll(self, now: float) -> None:
        wait = self._policy.next_poll(self._need(now), self._looks, self._world.random.random())
        self._looks += 1
        self._world.heap.after(wait, self.poll)

    def _need(self, now: float) -> Need:
        left = self._holder.left()
        if left > 0:
            self._starved_at = None
        elif self._starved_at is None:
            self._starved_at = now
        waited = 0.0 if self._starved_at is None else now - self._starved_at
        return Need(left, waited, self._chance)
