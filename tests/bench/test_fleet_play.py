"""Properties of the fleet simulation."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fleet.heap import Heap
from bench.fleet.plan import Plan
from bench.fleet.play import play, played
from proxy.errors import TokenFailure, kinds
from proxy.tokens.refresh_policy import RefreshPolicy

HOUR = 3600.0
LATER = (4 * HOUR, 10 * HOUR)
"""Past the start and the refreshes in step that follow."""


def test_events_are_in_order() -> None:
    """By time, then as planned; none in the past or after the end."""
    heap, seen = Heap(), list[tuple[float, str]]()

    def note(name: str) -> None:
        seen.append((heap.now, name))

    heap.at(2, note, "second")
    heap.at(1, note, "first")
    heap.at(2, note, "third")
    heap.at(1.5, lambda: heap.at(0, note, "late"))
    heap.at(9, note, "never")
    heap.run(9)
    assert seen == [(1, "first"), (1.5, "late"), (2, "second"), (2, "third")]
    assert heap.now == 9


def test_same_seed_gives_the_same_result() -> None:
    """Another seed gives another."""
    plan = Plan("x", pods=20, institutions=3)
    assert play(plan) == play(plan)
    assert play(plan) != play(replace(plan, seed=2))


@given(st.integers(1, 60), st.integers(1, 4), st.sampled_from([600.0, 1800.0, HOUR]))
@settings(max_examples=10, deadline=None)
def test_calls_with_a_store_do_not_depend_on_the_fleet_size(
    pods: int, institutions: int, lifetime: float
) -> None:
    """One per lifetime and institution; without a store one per pod."""
    plan = Plan(
        "x", pods=pods, institutions=institutions, lifetime=lifetime, spike=None, watched=LATER
    )
    policy = RefreshPolicy()
    hours = LATER[1] - LATER[0]
    longest, shortest = policy.refresh_age(lifetime, 0), policy.refresh_age(lifetime, 1)
    fewest, most = hours / longest - 1, hours / shortest + 1
    shared = played(replace(plan, has_store=True))
    assert institutions * fewest <= shared.calls <= institutions * most
    alone = played(plan)
    assert pods * institutions * fewest <= alone.calls <= pods * institutions * most
    assert (shared.refused, shared.without, alone.without) == (0, 0, 0)


@pytest.mark.parametrize("has_store", [False, True])
def test_limits_of_the_bank_are_enforced(*, has_store: bool) -> None:
    """Spike limit per second, quota per minute."""
    plan = Plan("x", pods=200, has_store=has_store, institutions=2, spike=5, quota=60)
    served = [when for when, well in play(plan).calls if well]
    assert max(Counter(int(when) for when in served).values()) <= 2 * 5
    assert max(Counter(int(when // 60) for when in served).values()) <= 2 * 60


def test_roll_out_is_ready_sooner_when_it_is_spread() -> None:
    """Refused calls return later."""
    storm = Plan("x", pods=1000, watched=(0, 1800))
    spread = replace(storm, policy=RefreshPolicy(start_spread=40))
    at_once, waited = played(storm), played(spread)
    assert at_once.refused > 500
    assert waited.refused == 0
    assert waited.ready_all is not None
    assert at_once.ready_all is not None
    assert waited.ready_all < at_once.ready_all
    assert played(replace(storm, has_store=True)).calls == 1


@pytest.mark.parametrize("has_store", [False, True])
@pytest.mark.parametrize("outage", [kinds.TOKEN_SERVER, kinds.TOKEN_UNREACHABLE])
def test_every_pod_recovers_from_an_outage(outage: TokenFailure, *, has_store: bool) -> None:
    """Within a back-off step of its end."""
    plan = Plan(
        "x",
        pods=30,
        lifetime=1800,
        has_store=has_store,
        bank_down=(2 * HOUR, 3 * HOUR),
        outage=outage,
        watched=(2 * HOUR, 4 * HOUR),
    )
    found = played(plan)
    assert found.without == 30
    assert found.recovered is not None
    assert 0 < found.recovered < 65


@pytest.mark.parametrize("pods", [3, 10, 100])
@pytest.mark.parametrize(
    "outage", [kinds.TOKEN_UNREACHABLE, kinds.TOKEN_TIMEOUT, kinds.TOKEN_SERVER]
)
def test_fleet_is_never_worse_off_with_a_store(pods: int, outage: TokenFailure) -> None:
    """While the bank fails it gets fewer calls, and no more in the worst second."""
    down = (2 * HOUR, 2 * HOUR + 2400)
    plan = Plan(
        "x", pods=pods, lifetime=1800, bank_down=down, outage=outage, watched=down,
        start_over=1800,
    )  # fmt: skip
    alone, shared = played(plan), played(replace(plan, has_store=True))
    assert shared.worst_second <= alone.worst_second
    assert shared.calls <= alone.calls
    if pods == 100:
        assert (shared.worst_second, shared.calls) < (4, 300)


def test_fleet_recovers_within_a_throttle_step() -> None:
    """A dozen pods lose their tokens while the bank says quota; then one call is for all."""
    began = 2 * HOUR
    plan = Plan(
        "x", pods=12, institutions=3, lifetime=60, has_store=True, watched=(began, began + 400),
        bank_down=(began, began + 100), outage=kinds.TOKEN_THROTTLED, start_over=60,
    )  # fmt: skip
    for seed in range(5):
        found = played(replace(plan, seed=seed))
        assert found.recovered is not None
        # A pod that waits longer for its own failures gets the token from the store.
        assert found.recovered <= plan.policy.throttle_initial + 1.5 * plan.sharing.poll_every


def test_store_outage_expires_no_token() -> None:
    """Each pod fetches its own, then all share again."""
    away = (2 * HOUR, 4 * HOUR)
    plan = Plan("x", pods=100, has_store=True, store_down=away, watched=away)
    without = played(plan)
    assert without.without == 0
    assert without.calls >= 200
    assert without.worst_second < 30
    assert played(replace(plan, watched=(6 * HOUR, 12 * HOUR))).calls <= 7


def test_wake_up_is_rate_limited() -> None:
    """A thousand expired tokens of a pod."""
    plan = Plan(
        "x", pods=1, institutions=1000, asleep=(2 * HOUR, 8 * HOUR), watched=(8 * HOUR, 8.5 * HOUR)
    )
    paced = played(plan)
    assert (paced.worst_second, paced.refused, paced.without) == (23, 0, 1000)
    at_once = played(replace(plan, policy=RefreshPolicy(refresh_rate=10_000)))
    assert at_once.refused > 900


def test_institutions_are_needed_as_planned() -> None:
    """The first at the start, the others later."""
    plan = Plan("x", pods=1, institutions=50, needed_within=600.0, watched=(0, 900), starts=(7.0,))
    log = play(plan)
    assert log.started == [7.0]
    assert log.calls[0][0] == 7.0
    assert 400 < log.calls[-1][0] < 607
