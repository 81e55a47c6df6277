"""A cache that nobody can make grow."""

import pytest

from proxy.http1.bounded_cache import MAX_ENTRIES, MAX_KEY, BoundedCache


def test_values_of_short_keys_are_kept() -> None:
    """Long keys and errors are computed again."""
    asked: list[bytes] = []

    def upper(key: bytes) -> bytes:
        asked.append(key)
        if key == b"bad":
            raise ValueError("bad key")
        return key.upper()

    cache = BoundedCache(upper, len)
    long = b"x" * (MAX_KEY + 1)
    for _ in range(2):
        assert cache[b"a"] == b"A"
        assert cache[long] == long.upper()
        with pytest.raises(ValueError, match="bad key"):
            _ = cache[b"bad"]
    assert asked == [b"a", long, b"bad", long, b"bad"]
    assert list(cache) == [b"a"]


def test_number_of_entries_is_bounded() -> None:
    """The cache starts again when it is full."""
    cache: BoundedCache[bytes, int] = BoundedCache(len, len)
    for number in range(10 * MAX_ENTRIES):
        assert cache[b"%d" % number] == len(str(number))
        assert len(cache) <= MAX_ENTRIES
