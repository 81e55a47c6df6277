"""Lease policy: who fetches and who waits, for any state of the store and any chance."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import kinds
from proxy.tokens.fleet.lease_policy import (
    CircuitBreaker,
    LeasePolicy,
    Need,
    NextAction,
    StoreState,
    applies_to_fleet,
)

POLICY = LeasePolicy()

seconds = st.floats(0, 1e6)
lives = st.one_of(st.just(0.0), st.floats(0.01, 1e6))
chances = st.floats(0, 1, exclude_max=True)
views = st.builds(StoreState, lives, lives, lives)
needs = st.builds(Need, lives, seconds, chances)


@given(views, needs)
def test_token_is_taken_if_it_lives_longer(view: StoreState, need: Need) -> None:
    """Longer than the current one, so an expired one never."""
    assert (POLICY.decide(view, need) is NextAction.USE_SHARED) == (
        view.token_left > need.token_left
    )


@given(views, needs)
def test_nobody_fetches_during_a_lease_or_refusal(view: StoreState, need: Need) -> None:
    """The lease is requested only if it is free and no refusal applies."""
    if POLICY.decide(view, need) is NextAction.LEASE:
        assert view.lease_left == view.refusal_left == 0


@given(st.floats(0.01, 1e6), needs)
def test_wait_for_a_lease_is_bounded(leased: float, need: Need) -> None:
    """With half of the current token's life left it is longer."""
    step = POLICY.decide(StoreState(lease_left=leased), need)
    if need.waited < POLICY.max_wait or need.waited < need.token_left:
        assert step is NextAction.WAIT
    elif need.waited >= POLICY.max_wait + POLICY.spread_without_token:
        assert step is NextAction.FETCH_DIRECTLY


def test_refusal_applies_without_a_better_token() -> None:
    """The lease is not requested, and nobody waits."""
    assert POLICY.decide(StoreState(refusal_left=1), Need(0, 0, 0)) is NextAction.REFUSE
    assert (
        POLICY.decide(StoreState(refusal_left=1, lease_left=1), Need(30, 0, 0)) is NextAction.REFUSE
    )


@given(needs, seconds)
def test_without_a_store_fetches_are_spread(need: Need, blind: float) -> None:
    """Within the spread, and within half of the current token's remaining life."""
    moment = POLICY.direct_after(need)
    longest = (
        min(POLICY.spread, need.token_left / 2) if need.token_left else POLICY.spread_without_token
    )
    assert 0 <= moment <= longest
    assert (POLICY.decide_without_store(need, blind) is NextAction.FETCH_DIRECTLY) == (
        blind >= moment
    )


def test_spread_depends_on_chance() -> None:
    """A fleet that loses its store does not fetch at once."""
    needy = {POLICY.direct_after(Need(0, 0, number / 10)) for number in range(10)}
    holding = {POLICY.direct_after(Need(300, 0, number / 10)) for number in range(10)}
    assert len(needy) == len(holding) == 10
    assert max(holding) > 50


@given(needs, st.integers(0, 10_000), chances)
def test_polls_are_spaced(need: Need, polls: int, chance: float) -> None:
    """Between half of the first step and the longest step."""
    pause = POLICY.next_poll(need, polls, chance)
    assert POLICY.first_poll / 2 <= pause <= POLICY.longest_poll_with_token
    if need.token_left == 0:
        assert pause <= POLICY.longest_poll


def test_lease_outlives_a_lost_renewal() -> None:
    """Two renewals fit into a lease."""
    assert POLICY.renew_interval() * 2 < POLICY.lease


@given(st.integers(0, 1_000_000))
def test_spread_shrinks_with_the_number_of_keys(keys: int) -> None:
    """With few institutions it is wide, with a thousand it is seconds."""
    spread = POLICY.spread_for(keys)
    assert POLICY.spread / 12 <= spread <= POLICY.spread
    assert (spread == POLICY.spread) == (keys <= 16)


@given(st.integers(0, 1_000_000))
def test_following_has_a_bounded_rate(keys: int) -> None:
    """Each key every few seconds, and all keys within the rate."""
    pause = POLICY.poll_interval(keys)
    assert pause >= 1 / POLICY.poll_rate
    assert pause == POLICY.poll_every / max(keys, 1) or pause == 1 / POLICY.poll_rate


def test_only_refusals_of_the_bank_apply_to_all() -> None:
    """A network failure may concern one machine."""
    own = {reason for reason in kinds.TOKEN_FAILURES if not applies_to_fleet(reason)}
    assert own == {
        kinds.TOKEN_UNREACHABLE,
        kinds.TOKEN_TIMEOUT,
        kinds.TOKEN_MALFORMED,
        kinds.TOKEN_INTERNAL,
    }


@given(st.integers(1, 10_000), chances)
def test_failed_store_is_retried_rarely(failures: int, chance: float) -> None:
    """After each failure it is left alone for longer, up to a limit."""
    circuit = CircuitBreaker()
    for _ in range(failures):
        circuit.record_failure(100.0, chance)
    pause = circuit.retry_at - 100.0
    step = min(circuit.shortest * 2.0 ** min(failures - 1, 16), circuit.longest)
    assert step / 2 <= pause <= step
    assert not circuit.allows(100.0 + pause * 0.99, 0.25)


def test_one_request_tests_a_failed_store() -> None:
    """The others fetch directly until it responds."""
    circuit = CircuitBreaker()
    assert circuit.allows(0.0, 0.25)
    circuit.record_failure(0.0, 0.5)
    assert circuit.allows(1.0, 0.25)
    assert not circuit.allows(1.1, 0.25)
    circuit.record_success()
    assert circuit.allows(1.1, 0.25)
    assert circuit.allows(1.1, 0.25)
