"""Who asks the bank and who waits, for every view of the store and any chance."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenFailure
from proxy.tokens.fleet.lease_policy import Circuit, SharingPolicy, Step, View, Wish, binds_all

POLICY = SharingPolicy()

seconds = st.floats(0, 1e6)
lives = st.one_of(st.just(0.0), st.floats(0.01, 1e6))
chances = st.floats(0, 1, exclude_max=True)
views = st.builds(View, lives, lives, lives)
wishes = st.builds(Wish, lives, seconds, chances)


@given(views, wishes)
def test_a_token_that_lives_longer_is_taken_and_no_other(view: View, wish: Wish) -> None:
    """Taken is what lives longer than the one in hand; so a dead one never is."""
    assert (POLICY.decide(view, wish) is Step.TAKE) == (view.offered > wish.left)


@given(views, wishes)
def test_nobody_asks_while_another_does_or_the_bank_has_refused(view: View, wish: Wish) -> None:
    """The lease is only wanted when it is free and no refusal binds."""
    if POLICY.decide(view, wish) is Step.LEASE:
        assert view.leased == view.refused == 0


@given(st.floats(0.01, 1e6), wishes)
def test_patience_ends_but_not_while_the_token_in_hand_is_good(leased: float, wish: Wish) -> None:
    """One waits for another's lease for a bounded time, and with half a token left for longer."""
    step = POLICY.decide(View(leased=leased), wish)
    if wish.waited < POLICY.patience or wish.waited < wish.left:
        assert step is Step.WAIT
    elif wish.waited >= POLICY.patience + POLICY.spread_needy:
        assert step is Step.ALONE


def test_a_refusal_of_the_bank_binds_whoever_has_nothing_better() -> None:
    """Neither the lease is asked for nor is anybody kept waiting."""
    assert POLICY.decide(View(refused=1), Wish(0, 0, 0)) is Step.REFUSE
    assert POLICY.decide(View(refused=1, leased=1), Wish(30, 0, 0)) is Step.REFUSE


@given(wishes, seconds)
def test_without_the_store_each_asks_at_its_own_moment(wish: Wish, blind: float) -> None:
    """The moment lies within the spread, and within half of what the token in hand still lives."""
    moment = POLICY.alone_after(wish)
    longest = min(POLICY.spread, wish.left / 2) if wish.left else POLICY.spread_needy
    assert 0 <= moment <= longest
    assert (POLICY.decide_blind(wish, blind) is Step.ALONE) == (blind >= moment)


def test_different_chances_are_different_moments() -> None:
    """So a fleet that loses its store does not ask as one."""
    needy = {POLICY.alone_after(Wish(0, 0, number / 10)) for number in range(10)}
    holding = {POLICY.alone_after(Wish(300, 0, number / 10)) for number in range(10)}
    assert len(needy) == len(holding) == 10
    assert max(holding) > 50


@given(wishes, st.integers(0, 10_000), chances)
def test_looks_come_at_first_quickly_and_never_in_a_tight_loop(
    wish: Wish, looks: int, chance: float
) -> None:
    """Between two looks lie at least half of the first step and at most the longest."""
    pause = POLICY.next_look(wish, looks, chance)
    assert POLICY.look_first / 2 <= pause <= POLICY.look_holding
    if wish.left == 0:
        assert pause <= POLICY.look_last


def test_a_lease_outlives_a_lost_renewal() -> None:
    """Two renewals fit into a lease."""
    assert POLICY.renew_every() * 2 < POLICY.lease


@given(st.integers(0, 1_000_000))
def test_a_gateway_with_many_keys_does_not_wait_long_for_each(keys: int) -> None:
    """A proxy of a few institutions spreads widely, one of a thousand by seconds."""
    spread = POLICY.spread_for(keys)
    assert POLICY.spread / 12 <= spread <= POLICY.spread
    assert (spread == POLICY.spread) == (keys <= 16)


@given(st.integers(0, 1_000_000))
def test_many_keys_are_followed_at_a_bounded_rate(keys: int) -> None:
    """Each key every few seconds, and all of them together never faster than the rate."""
    pause = POLICY.follow_every(keys)
    assert pause >= 1 / POLICY.follow_rate
    assert pause == POLICY.follow / max(keys, 1) or pause == 1 / POLICY.follow_rate


def test_what_binds_all_is_what_the_bank_itself_said() -> None:
    """A call that failed on its way may be the trouble of one machine."""
    own = {reason for reason in TokenFailure if not binds_all(reason)}
    assert own == {
        TokenFailure.UNREACHABLE,
        TokenFailure.TIMEOUT,
        TokenFailure.MALFORMED,
        TokenFailure.INTERNAL,
    }


@given(st.integers(1, 10_000), chances)
def test_a_dead_store_costs_a_deadline_only_rarely(failures: int, chance: float) -> None:
    """After each failure the store is left alone, longer and longer, up to a bound."""
    circuit = Circuit()
    for _ in range(failures):
        circuit.failed(100.0, chance)
    pause = circuit.retry_at - 100.0
    step = min(circuit.shortest * 2.0 ** min(failures - 1, 16), circuit.longest)
    assert step / 2 <= pause <= step
    assert not circuit.allows(100.0 + pause * 0.99, 0.25)


def test_one_at_a_time_tries_a_store_that_failed() -> None:
    """While one tries it out, the others go on without; once it answers, all may ask."""
    circuit = Circuit()
    assert circuit.allows(0.0, 0.25)
    circuit.failed(0.0, 0.5)
    assert circuit.allows(1.0, 0.25)
    assert not circuit.allows(1.1, 0.25)
    circuit.worked()
    assert circuit.allows(1.1, 0.25)
    assert circuit.allows(1.1, 0.25)
