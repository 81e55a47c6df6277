"""What the store contains: opaque names, and entries that decrypt in one place only."""

import itertools
import os
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import kinds
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.fleet.encryption import (
    DecryptError,
    EntryCipher,
    RecordName,
    RefusalEntry,
    TokenEntry,
    read_keys,
    record_name,
)
from proxy.tokens.grants import Login, Password
from proxy.tokens.token import TokenKey, TokenKind
from tests.tokens.fleet.encryption_keys import key_line

BASE = "https://bank.example/api"
LOGIN = Login(Credentials("client-of-moss", "secret-of-moss"))
KEY = TokenKey(TokenKind.V2, "00016")
NAME = record_name(BASE, KEY, LOGIN)
TOKEN = TokenEntry("gBOL-moss", 3600.0, 1_800_000_000.0)
REFUSAL = RefusalEntry(kinds.TOKEN_THROTTLED, "CMN_90002", 3, 1_800_000_020.0)

OTHERS = [
    record_name(BASE + "/stage", KEY, LOGIN),
    record_name(BASE, TokenKey(TokenKind.V1, "00016"), LOGIN),
    record_name(BASE, TokenKey(TokenKind.V2, "00017"), LOGIN),
    record_name(BASE, KEY, replace(LOGIN, scopes="accounts:read")),
    record_name(BASE, KEY, replace(LOGIN, grant=Password("juniper", "moonlight"))),
    record_name(BASE, KEY, Login(Credentials("client-of-moss", "another-secret"))),
    record_name(BASE, KEY, Login(Credentials("another-client", "secret-of-moss"))),
]

texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200)
times = st.floats(0, 4e9)


def entry_cipher(*lines: str) -> EntryCipher:
    """Return a cipher that encrypts with the first of these keys."""
    return EntryCipher(read_keys(lines or [key_line()]), os.urandom)


@given(st.builds(TokenEntry, texts, st.floats(0.1, 2e6), times))
def test_entry_decrypts_in_its_place(token: TokenEntry) -> None:
    """With its name and key an entry gives the original token."""
    assert (
        entry_cipher().decrypt_token(NAME, "k1", entry_cipher().encrypt_token(NAME, token)) == token
    )


def test_refusal_decrypts_too() -> None:
    """It has the id of its key."""
    sealed = entry_cipher().encrypt_refusal(NAME, REFUSAL)
    assert entry_cipher().decrypt_refusal(NAME, sealed) == REFUSAL


@pytest.mark.parametrize("other", OTHERS)
def test_moved_entry_does_not_decrypt(other: RecordName) -> None:
    """Not with another bank, generation, institution, client or credentials."""
    assert other.text != NAME.text
    with pytest.raises(DecryptError, match="garbage"):
        entry_cipher().decrypt_token(other, "k1", entry_cipher().encrypt_token(NAME, TOKEN))
    with pytest.raises(DecryptError, match="garbage"):
        entry_cipher().decrypt_refusal(other, entry_cipher().encrypt_refusal(NAME, REFUSAL))


def test_refusal_does_not_decrypt_as_a_token() -> None:
    """Purposes are separated."""
    sealed = entry_cipher().encrypt_refusal(NAME, REFUSAL).partition(b" ")[2]
    with pytest.raises(DecryptError, match="garbage"):
        entry_cipher().decrypt_token(NAME, "k1", sealed)


@given(st.binary(max_size=300))
def test_garbage_does_not_decrypt(garbage: bytes) -> None:
    """Any other bytes raise one kind of error."""
    with pytest.raises(DecryptError, match="garbage"):
        entry_cipher().decrypt_token(NAME, "k1", garbage)
    with pytest.raises(DecryptError):
        entry_cipher().decrypt_refusal(NAME, garbage)


@given(st.integers(0), st.integers(0, 255))
def test_changed_byte_is_detected(at: int, value: int) -> None:
    """Any single byte."""
    entry = bytearray(entry_cipher().encrypt_token(NAME, TOKEN))
    before = entry[at % len(entry)]
    entry[at % len(entry)] = value
    if value != before:
        with pytest.raises(DecryptError, match="garbage"):
            entry_cipher().decrypt_token(NAME, "k1", bytes(entry))


def test_other_key_with_the_same_id_does_not_decrypt() -> None:
    """So a fleet notices that its keys differ."""
    entry = entry_cipher(key_line("k1", "fern")).encrypt_token(NAME, TOKEN)
    with pytest.raises(DecryptError, match="garbage"):
        entry_cipher().decrypt_token(NAME, "k1", entry)


def test_unknown_key_is_reported() -> None:
    """It is distinguished from garbage."""
    sealed = entry_cipher(key_line("k2")).encrypt_refusal(NAME, REFUSAL)
    with pytest.raises(DecryptError, match="key"):
        entry_cipher().decrypt_refusal(NAME, sealed)


@pytest.mark.parametrize(
    "document",
    [
        [1, 3600.0, 0.0],
        ["with space", 3600.0, 0.0],
        ["line\r\nend", 3600.0, 0.0],
        ["gBOL", 0.0, 0.0],
        ["gBOL", 1e300, 0.0],
        ["gBOL", 3600.0],
    ],
)
def test_invalid_token_is_refused(document: list[object]) -> None:
    """Even if it decrypts, because it would go into a header."""
    ours = entry_cipher()
    entry = ours._encrypt(b"token", NAME, document)
    with pytest.raises(DecryptError, match="garbage"):
        ours.decrypt_token(NAME, "k1", entry)


def test_invalid_refusal_is_refused() -> None:
    """Its reason must be known."""
    ours = entry_cipher()
    entry = ours._encrypt(b"refusal", NAME, ["moody", "", 1, 0.0])
    with pytest.raises(DecryptError, match="garbage"):
        ours.decrypt_refusal(NAME, b"k1 " + entry)


def test_key_rotation_keeps_entries_readable() -> None:
    """All read the new key first, then all write it, then the old one is removed."""
    old, new = key_line("k1"), key_line("k2", "fern")
    steps = [entry_cipher(old), entry_cipher(old, new), entry_cipher(new, old), entry_cipher(new)]
    for before, after in itertools.pairwise(steps):
        for writer, reader in ((before, after), (after, before)):
            if writer.key_id in reader.key_ids:
                entry = writer.encrypt_token(NAME, TOKEN)
                assert reader.decrypt_token(NAME, writer.key_id, entry) == TOKEN
    assert steps[1].key_ids == ("k1", "k2")
    assert [one.key_id for one in steps] == ["k1", "k1", "k2", "k2"]


def test_entries_differ() -> None:
    """Each has its own nonce, so equal tokens have different entries."""
    ours = entry_cipher()
    assert len({ours.encrypt_token(NAME, TOKEN) for _ in range(100)}) == 100


def test_names_and_entries_show_no_secret() -> None:
    """No token, secret, client id or institution."""
    seen = NAME.text.encode() + NAME.digest("gBOL-moss").encode()
    seen += entry_cipher().encrypt_token(NAME, TOKEN) + entry_cipher().encrypt_refusal(
        NAME, REFUSAL
    )
    for text in ("gBOL-moss", "secret-of-moss", "client-of-moss", "00016", "CMN_90002"):
        assert text.encode() not in seen
        assert b64encode(text.encode())[:-4] not in seen
    assert "moss" not in repr((NAME, TOKEN))


@given(st.lists(texts, min_size=1, max_size=3))
def test_names_separate_their_parts(parts: list[str]) -> None:
    """Moving characters between parts changes the name."""
    joined = Login(Credentials("".join(parts), "secret-of-moss"))
    split = Login(Credentials(parts[0], "secret-of-moss"), scopes="".join(parts[1:]))
    same = len(parts) == 1
    assert (record_name(BASE, KEY, joined) == record_name(BASE, KEY, split)) is same


def test_keys_are_read() -> None:
    """An id and 32 bytes per line; the first encrypts; comments and empty lines are skipped."""
    keys = read_keys(["# since November", key_line("2026-11"), "", "  " + key_line("old")])
    assert list(keys) == ["2026-11", "old"]
    assert all(len(key) == 32 for key in keys.values())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "contains no key"),
        (["# nothing"], "contains no key"),
        (["moss"], "line 1 is not an id and 32 bytes"),
        ([key_line(), "k2 c2hvcnQ="], "line 2 is not an id and 32 bytes"),
        ([key_line(), key_line()], "line 2 has the id of another line"),
        (["k 1 " + key_line()], "line 1 is not"),
    ],
)
def test_invalid_key_file_is_refused(lines: list[str], message: str) -> None:
    """The error has the line number and how to make a key, not the line's content."""
    with pytest.raises(ValueError, match=message) as caught:
        read_keys(lines)
    assert "bW9zc" not in str(caught.value)
