"""PURE: how fast token calls are begun where many keys fall due together.

A machine that wakes up with a thousand dead tokens would otherwise run into the bank's spike
limit at once. What a request waits for is not paced: it goes to the bank by itself.
"""

from typing import NamedTuple

BURST = 4.0
"""Calls that may begin together: the two kinds of an institution or two never wait."""


class TokenBucket(NamedTuple):
    """How many calls might begin at ``at`` (monotonic seconds), fractions counted."""

    calls: float = BURST
    at: float = 0.0

    def refilled(self, now: float, rate: float) -> "TokenBucket":
        """Return what it has become by ``now``, at ``rate`` calls a second."""
        return TokenBucket(min(self.calls + max(now - self.at, 0.0) * rate, BURST), now)

    def minus(self, calls: int) -> "TokenBucket":
        """Return what is left when so many have begun."""
        return TokenBucket(self.calls - calls, self.at)

    def until_next(self, rate: float) -> float:
        """Return the seconds until one more may begin."""
        return max(1.0 - self.calls, 0.0) / rate


def rate_for(configured: float, needed: float) -> float:
    """Return how many calls a second may begin.

    ``needed`` is what the keys take when all is well, each once a lifetime. Twice of that is
    always allowed: lifetimes of seconds must not run out because ``configured`` is low.
    """
    return max(configured, 2.0 * needed)
