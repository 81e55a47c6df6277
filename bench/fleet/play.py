"""A plan, played by the simulation."""

from random import Random

from bench.fleet.bank import Bank
from bench.fleet.books import Books, Figures, figures
from bench.fleet.heap import Heap
from bench.fleet.plan import Plan
from bench.fleet.pods import Holder, Pod, World
from bench.fleet.store import Store


def play(plan: Plan) -> Books:
    """Return the books of a plan; the same for the same plan, seed included."""
    heap, random, books = Heap(), Random(plan.seed), Books()  # noqa: S311 - no secret
    bank = Bank(plan, heap, random, books)
    store = Store(plan, heap) if plan.has_store else None
    world = World(plan, heap, random, bank, store, books)
    holders = []
    for number in range(plan.pods):
        starts = plan.starts or (random.uniform(0.0, plan.start_over),)
        pod = Pod()
        for institution in range(plan.institutions):
            holder = Holder(world, pod, institution)
            heap.at(starts[number % len(starts)], holder.start)
            holders.append(holder)
    heap.run(plan.end)
    for holder in holders:
        holder.close()
    return books


def played(plan: Plan) -> Figures:
    """Return the figures of a plan."""
    return figures(plan, play(plan))
