"""The bank's side: every request that arrives is judged by what it carries."""

import re
from collections import Counter, deque
from collections.abc import Callable

from proxy.sandbox import Arrival, Bank

LATE = 0.05
"""Seconds between a token's end and the moment it is seen that two busy processes explain."""

_BEARER = re.compile(rb"\r\nAuthorization: Bearer ([A-Za-z0-9]+)\r\n")
_ASKED = re.compile(r"/(?:fis/|at/)(\d{5})/")
_CLERK = {"00017": "basil"}
"""Institutions whose calls are made for a user, by the name that logs in."""


class JudgedArrivals(deque[Arrival]):
    """Stands in the place of the bank's list of arrivals. ``broken`` counts what never may be.

    ``lag`` returns by how many seconds this process is late at the moment. ``latest`` is by how
    many seconds, at most, a token was sent after its end.
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
        """Judge the tokens in what the proxy has just sent; the network may yet delay it."""
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
        """Take an arrival, and judge it."""
        super().append(arrival)
        self.arrivals += 1
        for complaint in self._complaints(arrival):
            self.broken[complaint] += 1

    @property
    def unsafe(self) -> int:
        """Return how many requests came that must not come twice."""
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
