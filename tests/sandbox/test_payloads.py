"""Bytes in quantity."""

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.payloads import (
    BLOCK,
    BOMB,
    base64_length,
    base64_pattern,
    padding,
    pattern,
    pattern_sha256,
)

_sizes = st.integers(0, 3 * len(BLOCK))


@given(_sizes)
def test_pattern(size: int) -> None:
    """Each byte is its offset modulo 251, across blocks."""
    body = b"".join(pattern(size))
    assert body == (bytes(range(251)) * (size // 251 + 1))[:size]
    assert hashlib.sha256(body).hexdigest() == pattern_sha256(size)


@given(_sizes)
def test_base64_pattern(size: int) -> None:
    """With the predicted length."""
    text = b"".join(base64_pattern(size))
    assert text == base64.b64encode(b"".join(pattern(size)))
    assert len(text) == base64_length(size)


@pytest.mark.parametrize("size", [30, 65536, 100_000])
def test_padding(size: int) -> None:
    """Valid JSON of exactly this size."""
    body = b"".join(padding(size))
    assert len(body) == size
    assert set(json.loads(body)) == {"padding"}


def test_bomb_is_small() -> None:
    """Until it is expanded."""
    assert len(BOMB) < 2000
    assert BOMB.count(b"<!ENTITY") == 11
