"""Checks each request that arrives at the bank."""

import re
from collections import Counter, deque
from collections.abc import Callable

from proxy.sandbox import Arrival, Bank

LATE = 0.05
"""Tolerated seconds between a token's expiry and its arrival, on a busy machine."""

_BEARER = re.compile(rb"\r\nAuthorization: Bearer ([A-Za-z0-9]+)\r\n")
_ASKED = re.compile(r"/(?:fis/|at/)(\d{5})/")
_CLERK = {"00017": "basil"}
"""Institutions with a user context, and their login name."""


class JudgedArrivals(deque[Arrival]):
    """Replaces the bank's list of arrivals. ``broken`` has the violations.

    ``lag`` returns the current delay of this process in seconds. ``latest`` is the maximal time in
    seconds by which a token was sent after its expiry.
    """

    def __init__(self, bank: Bank, lag: Callable[[], float]) -> None:
        super().__init__(maxlen=100)
        self._bank = bank
        self._lag = lag
        self._unsafe: Counter[str] = Counter()
        self.arrivals = 0
        self.sent = 0
        self.latest = float("-inf")
        self.broken: Counter[str] = Counter()

    def hear(self, block: bytes) -> None:
        """Check the tokens in the bytes that the proxy has just sent, before network delays."""
        for text in _BEARER.findall(block):
            token = self._bank.tokens.get(text.decode("ascii"))
            if token is None:
                continue
            self.sent += 1
            late = self._bank.clock() - token.expires_at
            self.latest = max(self.latest, late)
            if late > LATE + self._lag():
                self.broken["an expired token was sent"] += 1

    def append(self, arrival: Arrival) -> None:
        """Add an arrival and check it."""
        super().append(arrival)
        self.arrivals += 1
        for complaint in self._complaints(arrival):
            self.broken[complaint] += 1

    @property
    def unsafe(self) -> int:
        """Return the number of received unsafe requests."""
        return len(self._unsafe)

    def _complaints(self, arrival: Arrival) -> list[str]:
        found = []
        if arrival.method not in ("GET", "HEAD", "OPTIONS"):
            transaction = arrival.header("transactionId") or arrival.header("di_tid") or ""
            self._unsafe[transaction] += 1
            if self._unsafe[transaction] > 1:
                found.append("an unsafe request arrived twice")
        if arrival.header("proxy-authorization"):
            found.append("what is between caller and proxy arrived")
        return found + self._of_token(arrival)

    def _of_token(self, arrival: Arrival) -> list[str]:
        shown = arrival.all("authorization")
        token = self._bank.tokens.get(shown[0].removeprefix("Bearer ")) if shown else None
        if len(shown) != 1 or token is None:
            return ["a token that is none of this bank's, or not exactly one"]
        found = []
        asked = _ASKED.search(arrival.target)
        if asked is not None and asked[1] != token.institution:
            found.append("a token of another institution was sent")
        wanted = _CLERK.get(token.institution)
        if token.generation == "V2" and (token.user.username if token.user else None) != wanted:
            found.append("a token of another user was sent")
        if (token.generation == "V1") != ("/fis/" in arrival.target) or token.refresh:
            found.append("a token of another kind was sent")
        return found
