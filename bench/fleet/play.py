"""Simulates a plan."""

from random import Random

from bench.fleet.bank import SimulatedBank
from bench.fleet.call_log import CallLog, Figures, figures
from bench.fleet.heap import Heap
from bench.fleet.plan import Plan
from bench.fleet.pods import FleetWorld, Holder, SimulatedPod
from bench.fleet.store import SimulatedStore


def play(plan: Plan) -> CallLog:
    """Return the log of a simulated plan, which is the same for the same plan and seed."""
    heap, random, log = Heap(), Random(plan.seed), CallLog()  # noqa: S311 - no secret
    bank = SimulatedBank(plan, heap, random, log)
    store = SimulatedStore(plan, heap) if plan.has_store else None
    world = FleetWorld(plan, heap, random, bank, store, log)
    holders = []
    for number in range(plan.pods):
        starts = plan.starts or (random.uniform(0.0, plan.start_over),)
        pod = SimulatedPod(str(number))
        for institution in range(plan.institutions):
            holder = Holder(world, pod, institution)
            heap.at(starts[number % len(starts)], holder.start)
            holders.append(holder)
    heap.run(plan.end)
    for holder in holders:
        holder.close()
    return log


def played(plan: Plan) -> Figures:
    """Return the figures of a plan."""
    return figures(plan, play(plan))
