"""The rate of renewals when many keys are due together.

A resumed machine with a thousand expired tokens would otherwise hit the bank's spike limit. Calls
that a request waits for are not limited.
"""

from typing import NamedTuple

BURST = 4.0
"""Calls that may start together: enough for both kinds of token of two institutions."""


class TokenBucket(NamedTuple):
    """A token bucket: ``calls`` is its level, fractions included, at ``at`` (monotonic seconds)."""

    calls: float = BURST
    at: float = 0.0

    def refilled(self, now: float, rate: float) -> "TokenBucket":
        """Return the bucket at ``now``, refilled at ``rate`` calls per second."""
        return TokenBucket(min(self.calls + max(now - self.at, 0.0) * rate, BURST), now)

    def minus(self, calls: int) -> "TokenBucket":
        """Return the bucket after this many calls."""
        return TokenBucket(self.calls - calls, self.at)

    def until_next(self, rate: float) -> float:
        """Return the seconds until one more call may start."""
        return max(1.0 - self.calls, 0.0) / rate


def rate_for(configured: float, needed: float) -> float:
    """Return the permitted calls per second.

    ``needed`` is the rate at which the keys are renewed in normal operation. Twice that is always
    allowed, so that short-lived tokens do not expire because ``configured`` is low.
    """
    return max(configured, 2.0 * needed)
