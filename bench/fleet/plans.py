"""All plans, by the question that they answer."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from bench.fleet.plan import Plan
from proxy.errors import kinds
from proxy.tokens.refresh_policy import RefreshPolicy

HOUR = 3600.0
MINUTE = 60.0

SIZES = (10, 100, 1000, 10_000)
LIFETIMES = (1800.0, HOUR, 24 * HOUR)
MOST_KEYS = 100_000
"""Pods times institutions, beyond which a table's row tells nothing new."""

SPIKE = 50
"""Token calls that the bank takes in any second: an assumption, for no limit is documented."""

UNPACED = RefreshPolicy(refresh_rate=10_000, max_refreshes=1_000_000)


def steady() -> Sequence[Plan]:
    """What does a fleet cost the bank in an hour, when nothing is wrong?"""
    return [
        Plan(
            name=f"steady-{pods}-{institutions}-{lifetime:.0f}-{word(store)}",
            pods=pods,
            institutions=institutions,
            lifetime=lifetime,
            has_store=store,
            # After the refreshes in step that follow a start; long enough to see every pod twice.
            watched=(4 * lifetime, 4 * lifetime + max(HOUR, 2 * lifetime)),
        )
        for pods, institutions, lifetime, store in product(
            SIZES, (1, 10, 100), LIFETIMES, (False, True)
        )
        if pods * institutions <= MOST_KEYS
    ]


def jitter() -> Sequence[Plan]:
    """Ten thousand pods without a store: does it help to move their refreshes further apart?"""
    return [
        Plan(
            name=f"jitter-{lifetime:.0f}-{most:.0f}",
            pods=10_000,
            lifetime=lifetime,
            policy=RefreshPolicy(jitter_max=most),
            watched=(4 * lifetime, 6 * lifetime),
        )
        for lifetime, most in product((HOUR, 24 * HOUR), (MINUTE, HOUR))
    ]


def rollout() -> Sequence[Plan]:
    """How long until all are ready that start within a second, and what does the bank see?"""
    return [
        Plan(
            name=f"rollout-{pods}-{way}",
            pods=pods,
            has_store=way == "store",
            # Twice as long as the bank's limit would take for all of them.
            policy=RefreshPolicy(start_spread=2 * pods / SPIKE if way == "spread" else 0.0),
            watched=(0.0, HOUR / 2),
        )
        for pods in SIZES
        for way in ("alone", "spread", "store")
    ]


def outages() -> Sequence[Plan]:
    """The bank answers with errors for longer than tokens live: how is its return?"""
    begin, end = 2 * HOUR, 2 * HOUR + 40 * MINUTE
    return [
        Plan(
            name=f"bank-{pods}-{word(store)}",
            pods=pods,
            lifetime=HOUR / 2,
            has_store=store,
            watched=(end, end + HOUR),
            bank_down=(begin, end),
            # A fleet that has run for a while no longer refreshes in step.
            start_over=HOUR / 2,
        )
        for pods, store in product(SIZES, (False, True))
    ]


def unreachable() -> Sequence[Plan]:
    """The bank cannot be reached for longer than tokens live: how often is it tried meanwhile?"""
    return [
        replace(
            plan,
            name=plan.name.replace("bank", "unreachable"),
            outage=kinds.TOKEN_UNREACHABLE,
            watched=plan.bank_down,
        )
        for plan in outages()
        if plan.pods <= 1000
    ]


def store_outages() -> Sequence[Plan]:
    """The store is away for an hour: what does the bank see meanwhile?"""
    begin, end = 2 * HOUR, 3 * HOUR
    return [
        Plan(
            name=f"store-{pods}-{lifetime:.0f}",
            pods=pods,
            lifetime=lifetime,
            has_store=True,
            watched=(begin, end),
            store_down=(begin, end),
            start_over=HOUR / 2,
        )
        for pods, lifetime in product(SIZES, (HOUR / 2, HOUR))
    ]


def wake_ups() -> Sequence[Plan]:
    """One proxy for a thousand institutions sleeps past every expiry: how does it wake up?"""
    begin, end = 2 * HOUR, 10 * HOUR
    return [
        Plan(
            name=f"wake-{way}",
            pods=1,
            institutions=1000,
            watched=(end, end + HOUR),
            asleep=(begin, end),
            policy=policy,
        )
        for way, policy in (("paced", RefreshPolicy()), ("unpaced", UNPACED))
    ]


def word(store: bool) -> str:
    """Return the word for a plan with or without a store."""
    return "store" if store else "alone"


def real() -> Sequence[Plan]:
    """Two dozen real proxies, in lifetimes of seconds: is the simulation right?

    Those whose name ends in ``settled`` begin when all are ready; a roll-out ends with that.
    """
    small = Plan(name="real", pods=24, lifetime=20.0, latency=(0.05, 0.05), needed_within=0.0)
    ways = (("alone", False), ("store", True))
    return [
        *(
            replace(small, name=f"real-rollout-{way}", has_store=store, lifetime=HOUR,
                    spike=2, watched=(0, 180))
            for way, store in ways
        ),
        replace(small, name="real-rollout-spread", lifetime=HOUR, spike=2, watched=(0, 180),
                policy=RefreshPolicy(start_spread=24)),
        *(
            replace(small, name=f"real-steady-{way}-settled", has_store=store, institutions=3,
                    spike=None, watched=(0, 50))
            for way, store in ways
        ),
        *(
            replace(small, name=f"real-wake-{way}-settled", has_store=store, spike=10,
                    asleep=(2, 24), watched=(24, 54))
            for way, store in ways
        ),
        *(
            replace(small, name=f"real-bank-{way}-settled", has_store=store, spike=10,
                    bank_down=(2, 32), watched=(32, 132))
            for way, store in ways
        ),
        replace(small, name="real-store-settled", has_store=True, spike=10, store_down=(2, 42),
                watched=(2, 42)),
    ]  # fmt: skip


GROUPS = {
    "steady": steady,
    "jitter": jitter,
    "rollout": rollout,
    "bank": outages,
    "unreachable": unreachable,
    "store": store_outages,
    "wake": wake_ups,
    "real": real,
}
"""Each question by its name, which is also the first word of its plans' names."""
