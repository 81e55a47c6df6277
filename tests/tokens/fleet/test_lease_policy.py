"""Who asks the bank and who waits, for every view of the store and any chance."""

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
wishes = st.builds(Need, lives, seconds, chances)


@given(views, wishes)
def test_a_token_that_lives_longer_is_taken_and_no_other(view: StoreState, need: Need) -> None:
    """Taken is what lives longer than the one in hand; so a dead one never is."""
    assert (POLICY.decide(view, need) is NextAction.USE_SHARED) == (
        view.token_left > need.token_left
    )


@given(views, wishes)
def test_nobody_asks_while_another_does_or_the_bank_has_refused(
    view: StoreState, need: Need
) -> None:
    """The lease is only wanted when it is free and no refusal binds."""
    if POLICY.decide(view, need) is NextAction.LEASE:
        assert view.lease_left == view.refusal_left == 0


@given(st.floats(0.01, 1e6), wishes)
def test_patience_ends_but_not_while_the_token_in_hand_is_good(leased: float, need: Need) -> None:
    """One waits for another's lease for a bounded time, and with half a token left for longer."""
    step = POLICY.decide(StoreState(lease_left=leased), need)
    if need.waited < POLICY.max_wait or need.waited < need.token_left:
        assert step is NextAction.WAIT
    elif need.waited >= POLICY.max_wait + POLICY.spread_without_token:
        assert step is NextAction.FETCH_DIRECTLY


def test_a_refusal_of_the_bank_binds_whoever_has_nothing_better() -> None:
    """Neither the lease is asked for nor is anybody kept waiting."""
    assert POLICY.decide(StoreState(refusal_left=1), Need(0, 0, 0)) is NextAction.REFUSE
    assert (
        POLICY.decide(StoreState(refusal_left=1, lease_left=1), Need(30, 0, 0)) is NextAction.REFUSE
    )


@given(wishes, seconds)
def test_without_the_store_each_asks_at_its_own_moment(need: Need, blind: float) -> None:
    """The moment lies within the spread, and within half of what the token in hand still lives."""
    moment = POLICY.direct_after(need)
    longest = (
        min(POLICY.spread, need.token_left / 2) if need.token_left else POLICY.spread_without_token
    )
    assert 0 <= moment <= longest
    assert (POLICY.decide_without_store(need, blind) is NextAction.FETCH_DIRECTLY) == (
        blind >= moment
    )


def test_different_chances_are_different_moments() -> None:
    """So a fleet that loses its store does not ask as one."""
    needy = {POLICY.direct_after(Need(0, 0, number / 10)) for number in range(10)}
    holding = {POLICY.direct_after(Need(300, 0, number / 10)) for number in range(10)}
    assert len(needy) == len(holding) == 10
    assert max(holding) > 50


@given(wishes, st.integers(0, 10_000), chances)
def test_looks_come_at_first_quickly_and_never_in_a_tight_loop(
    need: Need, looks: int, chance: float
) -> None:
    """Between two looks lie at least half of the first step and at most the longest."""
    pause = POLICY.next_poll(need, looks, chance)
    assert POLICY.first_poll / 2 <= pause <= POLICY.longest_poll_with_token
    if need.token_left == 0:
        assert pause <= POLICY.longest_poll


def test_a_lease_outlives_a_lost_renewal() -> None:
    """Two renewals fit into a lease."""
    assert POLICY.renew_interval() * 2 < POLICY.lease


@given(st.integers(0, 1_000_000))
def test_a_gateway_with_many_keys_does_not_wait_long_for_each(keys: int) -> None:
    """A proxy of a few institutions spreads widely, one of a thousand by seconds."""
    spread = POLICY.spread_for(keys)
    assert POLICY.spread / 12 <= spread <= POLICY.spread
    assert (spread == POLICY.spread) == (keys <= 16)


@given(st.integers(0, 1_000_000))
def test_many_keys_are_followed_at_a_bounded_rate(keys: int) -> None:
    """Each key every few seconds, and all of them together never faster than the rate."""
    pause = POLICY.poll_interval(keys)
    assert pause >= 1 / POLICY.poll_rate
    assert pause == POLICY.poll_every / max(keys, 1) or pause == 1 / POLICY.poll_rate


def test_what_binds_all_is_what_the_bank_itself_said() -> None:
    """A call that failed on its way may be the trouble of one machine."""
    own = {reason for reason in kinds.TOKEN_FAILURES if not applies_to_fleet(reason)}
    assert own == {
        kinds.TOKEN_UNREACHABLE,
        kinds.TOKEN_TIMEOUT,
        kinds.TOKEN_MALFORMED,
        kinds.TOKEN_INTERNAL,
    }


@given(st.integers(1, 10_000), chances)
def test_a_dead_store_costs_a_deadline_only_rarely(failures: int, chance: float) -> None:
    """After each failure the store is left alone, longer and longer, up to a bound."""
    circuit = CircuitBreaker()
    for _ in range(failures):
        circuit.record_failure(100.0, chance)
    pause = circuit.retry_at - 100.0
    step = min(circuit.shortest * 2.0 ** min(failures - 1, 16), circuit.longest)
    assert step / 2 <= pause <= step
    assert not circuit.allows(100.0 + pause * 0.99, 0.25)


def test_one_at_a_time_tries_a_store_that_failed() -> None:
    """While one tries it out, the others go on without; once it answers, all may ask."""
    circuit = CircuitBreaker()
    assert circuit.allows(0.0, 0.25)
    circuit.record_failure(0.0, 0.5)
    assert circuit.allows(1.0, 0.25)
    assert not circuit.allows(1.1, 0.25)
    circuit.record_success()
    assert circuit.allows(1.1, 0.25)
    assert circuit.allows(1.1, 0.25)
