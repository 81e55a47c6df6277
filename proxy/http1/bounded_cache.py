"""A cache by values that callers or the bank choose, bounded in bytes."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_ENTRIES = 512
MAX_KEY = 64
"""Bytes of the longest key that is kept. Names and hosts are shorter."""


class BoundedCache(dict[K, V], Generic[K, V]):
    """``cache[key]`` returns ``function(key)``, kept for short keys.

    A hit is a dictionary look-up without a function call. When ``MAX_ENTRIES`` are kept, all are
    forgotten: simpler than an order of use, and made-up keys cannot stay. ``size`` measures a key.
    """

    def __init__(self, function: Callable[[K], V], size: Callable[[K], int]) -> None:
        super().__init__()
        self._function = function
        self._size = size

    def __missing__(self, key: K) -> V:
        """Compute a value; what ``function`` raises is not kept."""
        value = self._function(key)
        if self._size(key) <= MAX_KEY:
            if len(self) >= MAX_ENTRIES:
                self.clear()
            self[key] = value
        return value
