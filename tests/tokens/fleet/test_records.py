"""Decrypted records: the best token, and undecryptable entries."""

import os
from dataclasses import replace

import pytest

from proxy.errors import kinds
from proxy.tokens.fleet.encryption import (
    EntryCipher,
    RefusalEntry,
    TokenEntry,
    read_keys,
    record_name,
)
from proxy.tokens.fleet.events import DecryptFailed
from proxy.tokens.fleet.records import RecordReader
from proxy.tokens.fleet.script import Record
from proxy.tokens.token import Instant, Token
from tests.tokens.fleet.encryption_keys import key_line
from tests.tokens.fleet.test_encryption import BASE, LOGIN
from tests.tokens.harness import KEY

NAME = record_name(BASE, KEY, LOGIN)
WALL = 1_800_000_000.0
NOW = Instant(500.0, WALL)
OLD, NEW = key_line("old", "fern"), key_line("new")


class RecordHarness:
    """Records read with an old and a new key, and the reported events."""

    def __init__(self) -> None:
        self.events: list[DecryptFailed] = []
        self.seals = EntryCipher(read_keys([NEW, OLD]), os.urandom)
        self.records = RecordReader(self.seals, self.events.append)

    def entry(self, text: str, age: float, key: str = NEW) -> bytes:
        """Return an entry for one hour with this age by the store's clock."""
        cipher = EntryCipher(read_keys([key]), os.urandom)
        return cipher.encrypt_token(NAME, TokenEntry(text, 3600.0, WALL - age))

    def best(self, seen: Record, *unwanted: str, now: Instant = NOW) -> Token | None:
        """Return the best token of a record."""
        digests = [NAME.digest(text) for text in unwanted]
        return self.records.best_token(KEY, NAME, seen, digests, requested_at=now, now=now)


def make_record(refusal: bytes = b"", *, strange: bool = False, **entries: bytes) -> Record:
    """Return a record with these entries, read by a store with a correct clock."""
    return Record(WALL, 0, 0.0, frozenset(), refusal, entries, strange)


def test_longest_lived_token_is_the_best() -> None:
    """Whichever key encrypted it; it is marked as shared, with its real age."""
    desk = RecordHarness()
    record = make_record(new=desk.entry("first", 100), old=desk.entry("second", 40, OLD))
    token = desk.best(record)
    assert token is not None
    assert (token.text, token.is_from_store) == ("second", True)
    assert token.remaining(NOW) == pytest.approx(3560)
    turned = make_record(new=desk.entry("first", 10), old=desk.entry("second", 40, OLD))
    assert getattr(desk.best(turned), "text", "") == "first"


def test_rejected_and_expired_tokens_are_skipped() -> None:
    """Rejected by digest, or expired by the store's clock."""
    desk = RecordHarness()
    assert desk.best(make_record(new=desk.entry("first", 100)), "first") is None
    assert desk.best(make_record(new=desk.entry("first", 3600))) is None
    assert desk.best(make_record()) is None


@pytest.mark.parametrize("skew", [-600.0, 0.0, 600.0])
def test_age_is_told_by_the_store(skew: float) -> None:
    """The reader's clock may be wrong by ten minutes."""
    desk, now = RecordHarness(), Instant(NOW.monotonic, NOW.wall + skew)
    token = desk.best(make_record(new=desk.entry("first", 100)), now=now)
    assert token is not None
    assert token.remaining(now) == pytest.approx(3500)


def test_entry_from_the_future_is_skipped() -> None:
    """After a failover to a store with a clock behind, its age is not known."""
    desk = RecordHarness()
    assert desk.best(make_record(new=desk.entry("first", -0.001))) is None
    assert desk.best(make_record(new=desk.entry("first", 0))) is not None


def test_known_entry_does_not_become_younger() -> None:
    """When the store's clock is set back; another entry has its own age."""
    desk = RecordHarness()
    old = desk.entry("first", 3000)
    assert desk.best(make_record(new=old)) is not None
    back = replace(make_record(new=old), now=WALL - 2900)
    token, later = desk.best(back), Instant(NOW.monotonic + 10, NOW.wall + 10)
    assert token is not None
    assert token.remaining(NOW) == pytest.approx(600)
    again = desk.best(back, now=later)
    assert again is not None
    assert again.remaining(later) == pytest.approx(590)
    fresh = desk.best(replace(back, entries={"new": desk.entry("second", 3000)}))
    assert fresh is not None
    assert fresh.remaining(NOW) == pytest.approx(3500)


def test_undecryptable_entry_is_reported_once() -> None:
    """A changed entry is reported again."""
    desk = RecordHarness()
    for garbage in (b"moss" * 10, b"moss" * 10, b"fern" * 10):
        assert desk.best(make_record(new=garbage)) is None
    assert desk.events == [DecryptFailed(KEY, "garbage")] * 2
    assert desk.records.undecryptable_count == 1
    assert desk.best(make_record(new=desk.entry("first", 0))) is not None
    assert desk.records.undecryptable_count == 0


def test_entry_of_an_unknown_key_is_reported() -> None:
    """It is not decrypted."""
    desk = RecordHarness()
    assert desk.best(make_record(strange=True)) is None
    assert desk.best(make_record(strange=True)) is None
    assert desk.events == [DecryptFailed(KEY, "key")]
    assert desk.best(make_record()) is None
    assert desk.records.undecryptable_count == 0


def test_refusals_are_read() -> None:
    """One that decrypts, none, and one that does not."""
    desk = RecordHarness()
    refusal = RefusalEntry(kinds.TOKEN_THROTTLED, "CMN_90002", 1, WALL + 10)
    sealed = desk.seals.encrypt_refusal(NAME, refusal)
    assert desk.records.refusal(KEY, NAME, make_record(sealed)) == refusal
    assert desk.records.refusal(KEY, NAME, make_record()) is None
    assert desk.records.refusal(KEY, NAME, make_record(b"new moss")) is None
    assert desk.events == [DecryptFailed(KEY, "garbage")]
    assert desk.best(make_record(b"new moss")) is None
    assert desk.records.undecryptable_count == 1
