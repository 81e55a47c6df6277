"""Reads what Redis's MONITOR shows, and counts the token requests that it permits.

By the store's clock alone, so the count is the same on a machine that is busy with other things.
"""

import math
import re
from dataclasses import dataclass, field

# One HSET of the proxies' script (``proxy/tokens/fleet/script.py``); times are Unix milliseconds.
STEP = re.compile(
    rb'\+([\d.]+) \[0 lua\] "HSET" "(candescent-proxy:\{\w+\})" "([\w:]+)" "((?:[^"\\]|\\.)*)"'
    rb'(?: "until" "(\d+)")?(?: "owner" "(\w+)")?\r'
)


@dataclass(slots=True)
class LeaseHistory:
    """The leases of one record. ``permitted`` are those given while no young token was shared.

    ``overlapping`` are those given to a proxy before the lease of another one had ended.
    """

    permitted: int = 0
    overlapping: int = 0
    given_at: float = -math.inf
    ends_at: float = -math.inf
    shared_since: float = -math.inf
    owner: bytes = b""


@dataclass
class StoreLog:
    """What was said to a store. A token younger than ``young`` seconds needs no other."""

    young: float
    text: bytearray = field(default_factory=bytearray)
    records: dict[str, LeaseHistory] = field(default_factory=dict)
    _read: int = 0

    def add(self, block: bytes) -> None:
        """Add what MONITOR has sent."""
        self.text += block
        end = self.text.rfind(b"\n") + 1
        for step in STEP.finditer(self.text, self._read, end):
            at, record, name, value, until, owner = (part or b"" for part in step.groups())
            history = self.records.setdefault(record.decode(), LeaseHistory())
            self._follow(history, float(at), name.decode(), value, until, owner)
        self._read = max(end, self._read)

    def _follow(
        self,
        history: LeaseHistory,
        at: float,
        name: str,
        value: bytes,
        until: bytes,
        owner: bytes,
    ) -> None:
        match name:
            case "fence":
                # The script rounds to milliseconds.
                is_early = at < history.ends_at - 0.01
                history.overlapping += is_early and owner != history.owner
                history.permitted += at - history.shared_since >= self.young
                history.given_at, history.ends_at, history.owner = at, int(until) / 1000, owner
            case "until":
                history.ends_at = int(value) / 1000
            case "rejected":
                history.shared_since = -math.inf
            case _ if name.startswith("entry:"):
                history.shared_since, history.ends_at = history.given_at, -math.inf
