"""Quota and spike limits. The time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class _Count:
    window: float = float("-inf")
    in_window: int = 0
    recent: deque[float] = field(default_factory=deque)


@dataclass
class RequestLimits:
    """Counts requests by key: a client, or a client and its institution.

    A refused request is not counted, so a client that waits is served again.
    """

    counts: dict[Hashable, _Count] = field(default_factory=dict)

    def exceeded(
        self, key: Hashable, now: float, *, quota: int | None, window: float, spike: int | None
    ) -> Literal["quota", "spike"] | None:
        """Count one request at ``now`` (seconds), or return the limit that it exceeds.

        ``quota`` requests are allowed in each window of ``window`` seconds, which begins with its
        first request, and ``spike`` requests within one second.
        """
        if quota is None and spike is None:
            return None
        count = self.counts.setdefault(key, _Count())
        if now >= count.window + window:
            count.window, count.in_window = now, 0
        while count.recent and count.recent[0] <= now - 1:
            count.recent.popleft()
        if spike is not None and len(count.recent) >= spike:
            return "spike"
        if quota is not None and count.in_window >= quota:
            return "quota"
        count.in_window += 1
        count.recent.append(now)
        return None
