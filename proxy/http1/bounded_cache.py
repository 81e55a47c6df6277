"""A cache with keys that callers or the bank choose, bounded in bytes."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_ENTRIES = 512
MAX_KEY = 64
"""Bytes of the longest key that is cached. Header names and hosts are shorter."""


class BoundedCache(dict[K, V], Generic[K, V]):
    """``cache[key]`` returns ``function(key)``, cached for short keys.

    A hit is a dictionary look-up without a function call. At ``MAX_ENTRIES`` the cache is cleared,
    which is simpler than LRU and drops made-up keys. ``size`` returns a key's size in bytes.
    """

    def __init__(self, function: Callable[[K], V], size: Callable[[K], int]) -> None:
        super().__init__()
        self._function = function
        self._size = size

    def __missing__(self, key: K) -> V:
        """Compute a value; an exception of ``function`` is not cached."""
        value = self._function(key)
        if self._size(key) <= MAX_KEY:
            if len(self) >= MAX_ENTRIES:
                self.clear()
            self[key] = value
        return value
