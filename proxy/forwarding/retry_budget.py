"""The retry budget: a share of the requests, so that an outage is not made worse."""

SHARE = 0.1
"""Retries per request."""

PER_SECOND = 1.0
"""Retries per second that are allowed without traffic to take a share of."""

BURST = 10.0
"""Retries that may be saved up."""


class RetryBudget:
    """A token bucket that is filled by requests and by time."""

    def __init__(self) -> None:
        self._level = BURST
        self._requests = 0
        self._at = 0.0

    def take(self, requests: int, now: float) -> bool:
        """Return whether one more retry is allowed, and count it.

        ``requests`` is the number of requests so far, ``now`` is in seconds.
        """
        filled = (requests - self._requests) * SHARE + (now - self._at) * PER_SECOND
        self._level = min(self._level + filled, BURST)
        self._requests, self._at = requests, now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True
