"""Lease policy: who fetches and who waits, for any state of the store and any chance."""

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import TokenFailure, kinds
from proxy.tokens.fleet.encryption import RefusalEntry
from proxy.tokens.fleet.lease_policy import (
    CircuitBreaker,
    LeasePolicy,
    Need,
    NextAction,
    StoreState,
    applies_to_fleet,
    failures_of_fleet,
)
from proxy.tokens.fleet.store_settings import StoreSettings
from proxy.tokens.refresh_policy import RefreshPolicy

POLICY = LeasePolicy()

seconds = st.floats(0, 1e6)
lives = st.one_of(st.just(0.0), st.floats(0.01, 1e6))
chances = st.floats(0, 1, exclude_max=True)
views = st.builds(StoreState, lives, lives, lives, st.booleans())
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
    """By the time of one call to the bank."""
    step = POLICY.decide(StoreState(lease_left=leased), need)
    ended = need.waited >= POLICY.max_wait
    assert step is (NextAction.TIME_OUT if ended else NextAction.WAIT)


@given(views, needs)
def test_call_ends_within_the_wait(view: StoreState, need: Need) -> None:
    """Waiting and the own call take no longer than a call; a call without time is not started."""
    if POLICY.decide(view, need) is NextAction.LEASE:
        assert POLICY.shortest_call <= POLICY.call_time(need) <= POLICY.max_wait


def test_nobody_waits_long_for_a_probe() -> None:
    """The call after a failure may hang like the one before."""
    probe = StoreState(lease_left=1, is_after_failure=True)
    assert POLICY.decide(probe, Need(0, POLICY.probe_wait / 2, 0)) is NextAction.WAIT
    assert POLICY.decide(probe, Need(0, POLICY.probe_wait, 0)) is NextAction.REFUSE


def test_refusal_applies_without_a_better_token() -> None:
    """The lease is not requested, and nobody waits."""
    assert POLICY.decide(StoreState(refusal_left=1), Need(0, 0, 0)) is NextAction.REFUSE
    assert (
        POLICY.decide(StoreState(refusal_left=1, lease_left=1), Need(30, 0, 0)) is NextAction.REFUSE
    )


@given(needs, seconds)
@example(Need(60, 0, 0.5), 1.0)
def test_without_a_store_fetches_are_spread(need: Need, blind: float) -> None:
    """Within the spread, and within half of the current token's remaining life."""
    moment = POLICY.direct_after(need)
    assert 0 <= moment <= min(POLICY.spread, need.token_left / 2)
    assert (POLICY.decide_without_store(need, blind) is NextAction.WAIT) == (blind < moment)


def test_spread_depends_on_chance() -> None:
    """A fleet that loses its store does not fetch at once; a request does not wait."""
    holding = {POLICY.direct_after(Need(300, 0, number / 10)) for number in range(10)}
    assert len(holding) == 10
    assert max(holding) > 50
    assert POLICY.direct_after(Need(0, 0, 0.9)) == 0


@given(needs, st.integers(0, 10_000), chances)
def test_polls_are_spaced(need: Need, polls: int, chance: float) -> None:
    """Between half of the first step and the longest step."""
    pause = POLICY.next_poll(need, polls, chance)
    assert POLICY.first_poll / 2 <= pause <= POLICY.longest_poll_with_token
    if need.token_left == 0:
        assert pause <= POLICY.longest_poll


def test_lease_outlives_a_lost_renewal() -> None:
    """Two renewals fit into a lease, and the first one comes a deadline after the grant."""
    assert POLICY.renew_interval() * 2 < POLICY.lease
    assert POLICY.first_lease >= 2 * StoreSettings.timeout


@given(st.sampled_from(sorted(kinds.TOKEN_FAILURES, key=str)), st.integers(1, 100), chances)
def test_probe_is_no_later_than_a_proxy_alone(
    reason: TokenFailure, failures: int, chance: float
) -> None:
    """And, unless credentials are refused, after a few seconds, however often it has failed."""
    refresh = RefreshPolicy()
    delay = POLICY.probe_delay(refresh, reason, failures, chance, None)
    assert 0 < delay <= refresh.retry_delay(reason, failures, chance)
    assert delay <= POLICY.probe_every or reason.is_refusal
    asked = POLICY.probe_delay(refresh, reason, failures, chance, 120.0)
    assert 120 <= asked <= 180


def test_failures_of_one_proxy_do_not_apply_to_the_fleet() -> None:
    """A second one must have met them too; what the bank itself says applies at once."""

    def after(last: RefusalEntry | None, reason: TokenFailure, proxy: str) -> RefusalEntry:
        failures = failures_of_fleet(last, reason, proxy)
        return RefusalEntry(reason, "", failures, 0.0, proxy)

    first = after(None, kinds.TOKEN_TIMEOUT, "a")
    assert (first.failures, after(first, kinds.TOKEN_TIMEOUT, "a").failures) == (0, 0)
    second = after(first, kinds.TOKEN_TIMEOUT, "b")
    assert (second.failures, after(second, kinds.TOKEN_UNREACHABLE, "b").failures) == (1, 2)
    assert after(None, kinds.TOKEN_SERVER, "a").failures == 1
    assert after(second, kinds.TOKEN_THROTTLED, "a").failures == 2


@given(st.integers(0, 1_000_000))
def test_all_keys_are_probed_at_a_bounded_rate(keys: int) -> None:
    """Five calls per second, or one key every ten seconds."""
    every = POLICY.probe_every_for(keys)
    assert every >= POLICY.probe_every
    assert keys / every <= 5


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


def test_last_poll_is_at_the_end_of_the_wait() -> None:
    """A caller does not wait longer for the sake of a poll."""
    rest = 0.2
    assert POLICY.next_poll(Need(0, POLICY.max_wait - rest, 0), 10, 0.999) <= rest
    assert POLICY.next_poll(Need(0, POLICY.max_wait + 1, 0), 10, 0) > 0


def test_only_refusals_of_the_bank_apply_to_all() -> None:
    """A network failure may concern one machine."""
    own = {reason for reason in kinds.TOKEN_FAILURES if not applies_to_fleet(reason)}
    assert own == {
        kinds.TOKEN_UNREACHABLE,
        kinds.TOKEN_TIMEOUT,
        kinds.TOKEN_MALFORMED,
        kinds.TOKEN_INTERNAL,
        kinds.TOKEN_SLOW,
        kinds.TOKEN_WRONG_SERVER,
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


def test_store_that_is_nearly_too_slow_is_left_alone() -> None:
    """Slow responses are used until one is too late; then a quick one must follow."""
    circuit = CircuitBreaker()
    assert not circuit.is_too_slow(0.48, 0.5)
    circuit.record_failure(0.0, 0.5)
    assert circuit.is_too_slow(0.48, 0.5)
    assert not circuit.is_too_slow(0.2, 0.5)
