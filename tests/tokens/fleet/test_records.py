"""Records, opened: which token is the best, and what does not open is told of once."""

import os

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
    """Records that are opened with an old and a new key, and what was told of them."""

    def __init__(self) -> None:
        self.events: list[DecryptFailed] = []
        self.seals = EntryCipher(read_keys([NEW, OLD]), os.urandom)
        self.records = RecordReader(self.seals, self.events.append)

    def entry(self, text: str, age: float, key: str = NEW, wall_age: float = 0.0) -> bytes:
        """Return an entry of an hour that is so old by the store's clock and by the writer's."""
        cipher = EntryCipher(read_keys([key]), os.urandom)
        return cipher.encrypt_token(NAME, TokenEntry(text, 3600.0, WALL - age, WALL - wall_age))

    def best(self, seen: Record, *unwanted: str) -> Token | None:
        """Return the best token in a record."""
        digests = [NAME.digest(text) for text in unwanted]
        return self.records.best_token(KEY, NAME, seen, digests, requested_at=NOW, now=NOW)


def make_record(refusal: bytes = b"", *, strange: bool = False, **entries: bytes) -> Record:
    """Return a record with these entries, looked at by a store whose clock is right."""
    return Record(WALL, 0, 0.0, frozenset(), refusal, entries, strange)


def test_the_one_that_lives_longest() -> None:
    """Whichever key sealed it; it is marked as another's, and as old as it is."""
    desk = RecordHarness()
    record = make_record(new=desk.entry("first", 100), old=desk.entry("second", 40, OLD))
    token = desk.best(record)
    assert token is not None
    assert (token.text, token.is_from_store) == ("second", True)
    assert token.remaining(NOW) == pytest.approx(3560)
    turned = make_record(new=desk.entry("first", 10), old=desk.entry("second", 40, OLD))
    assert getattr(desk.best(turned), "text", "") == "first"


def test_neither_unwanted_nor_dead() -> None:
    """A token that is known by its digest, or that has run out by either clock, is none."""
    desk = RecordHarness()
    assert desk.best(make_record(new=desk.entry("first", 100)), "first") is None
    assert desk.best(make_record(new=desk.entry("first", 3600))) is None
    assert desk.best(make_record(new=desk.entry("first", 0, wall_age=3600))) is None
    assert desk.best(make_record()) is None


def test_what_does_not_open_is_told_of_once() -> None:
    """However often it is looked at; and again when it is something else."""
    desk = RecordHarness()
    for garbage in (b"moss" * 10, b"moss" * 10, b"fern" * 10):
        assert desk.best(make_record(new=garbage)) is None
    assert desk.events == [DecryptFailed(KEY, "garbage")] * 2
    assert desk.records.undecryptable_count == 1
    assert desk.best(make_record(new=desk.entry("first", 0))) is not None
    assert desk.records.undecryptable_count == 0


def test_what_was_sealed_with_keys_that_we_do_not_have() -> None:
    """Is not even looked at, but told of."""
    desk = RecordHarness()
    assert desk.best(make_record(strange=True)) is None
    assert desk.best(make_record(strange=True)) is None
    assert desk.events == [DecryptFailed(KEY, "key")]
    assert desk.best(make_record()) is None
    assert desk.records.undecryptable_count == 0


def test_refusals() -> None:
    """One that opens, none, and one that does not open."""
    desk = RecordHarness()
    refusal = RefusalEntry(kinds.TOKEN_THROTTLED, "CMN_90002", 1, WALL + 10)
    sealed = desk.seals.encrypt_refusal(NAME, refusal)
    assert desk.records.refusal(KEY, NAME, make_record(sealed)) == refusal
    assert desk.records.refusal(KEY, NAME, make_record()) is None
    assert desk.records.refusal(KEY, NAME, make_record(b"new moss")) is None
    assert desk.events == [DecryptFailed(KEY, "garbage")]
    assert desk.best(make_record(b"new moss")) is None
    assert desk.records.undecryptable_count == 1
