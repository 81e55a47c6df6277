"""The bank's records, without a server."""

import pytest

from proxy.sandbox import Arrival, Bank, Fault, IssuedToken, Settings
from tests.sandbox.caller import Clock


@pytest.fixture
def bank(clock: Clock) -> Bank:
    """A bank with a fixed clock."""
    return Bank(Settings(seed=7), clock)


def draft(institution: str = "00016", *, family: int = 0, refresh: bool = False) -> IssuedToken:
    """Return a token to be issued."""
    return IssuedToken("V2", "c", institution, "password", family=family, refresh=refresh)


def test_token_is_valid_for_its_lifetime(bank: Bank, clock: Clock) -> None:
    """And not longer."""
    token = bank.issue(draft(), 2.5)
    clock.now += 2.4
    assert bank.is_valid(token)
    clock.now += 0.1
    assert not bank.is_valid(token)


def test_seed_makes_tokens_predictable(bank: Bank) -> None:
    """Without a seed they are random."""
    again, other = Bank(Settings(seed=7)), Bank(Settings())
    first = bank.issue(draft(), 1).text
    assert again.issue(draft(), 1).text == first
    assert other.issue(draft(), 1).text != first
    assert len(first) == 28


def test_refresh_token_is_revoked_with_its_family(bank: Bank) -> None:
    """Its access tokens, and no others."""
    mine, others = bank.new_family(), bank.new_family()
    access = bank.issue(draft(family=mine), 10)
    renewal = bank.issue(draft(family=mine, refresh=True), 10)
    stranger = bank.issue(draft(family=others), 10)
    assert bank.revoke(renewal.text)
    assert [bank.is_valid(token) for token in (access, renewal, stranger)] == [False, False, True]
    assert list(bank.revocations) == [renewal.text]


def test_access_token_is_revoked_alone(bank: Bank) -> None:
    """Its refresh token stays valid."""
    access = bank.issue(draft(family=1), 10)
    renewal = bank.issue(draft(family=1, refresh=True), 10)
    assert bank.revoke(access.text)
    assert bank.is_valid(renewal)
    assert not bank.revoke("unheard of")


def test_expire_all(bank: Bank) -> None:
    """All access tokens, optionally of one institution, or refresh tokens too."""
    bank.issue(draft("00016"), 10)
    bank.issue(draft("00017"), 10)
    renewal = bank.issue(draft("00016", refresh=True), 10)
    assert bank.expire_all(institution="00016") == 1
    assert [token.institution for token in bank.live_tokens()] == ["00017"]
    assert bank.expire_all() == 1
    assert bank.is_valid(renewal)
    assert bank.expire_all(refresh_tokens=True) == 1
    assert not bank.is_valid(renewal)


def test_records_are_bounded(bank: Bank, clock: Clock) -> None:
    """Valid tokens are never removed."""
    keeper = bank.issue(draft(), 1e9)
    for _ in range(50_000):
        bank.issue(draft(), 1)
        clock.now += 1
    assert len(bank.tokens) <= 20_000
    assert bank.tokens[keeper.text] is keeper


def test_reset_keeps_tokens(bank: Bank) -> None:
    """Only recorded requests are removed."""
    token = bank.issue(draft(), 10)
    bank.faults.append(Fault("token", hang=True))
    bank.transfers["x"] += 1
    bank.reset()
    assert (bank.faults, bank.transfers.total(), dict(bank.counts)) == ([], 0, {})
    assert bank.is_valid(token)


def test_arrival_reads_headers_in_any_case() -> None:
    """They are stored raw."""
    seen = Arrival(0, "GET", "/", [(b"X-A", b"1"), (b"x-a", b"2")])
    assert (seen.all("x-A"), seen.header("X-a"), seen.header("y")) == (["1", "2"], "1", None)


def test_repr_shows_no_token(bank: Bank) -> None:
    """Its text is hidden."""
    token = bank.issue(draft(), 1)
    assert token.text not in repr(token)
