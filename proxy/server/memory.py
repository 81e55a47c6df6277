"""A limit on the memory of callers' input, for all listeners of the process together.

Connections only subtract the bytes that arrive. When the remaining budget is used up, the bytes
that are really held are added up, so that a request costs one subtraction and nothing has to be
added back. Over the budget, the connections that hold most drop their input.
"""

from typing import Protocol

HEADER_OVERHEAD = 150
"""Bytes that a header takes besides its text: a tuple and two objects."""

BLOCK_OVERHEAD = 64
"""Bytes that a block of a body takes besides its data: an object and its list entry."""

EVENT_OVERHEAD = 2048
"""Bytes assumed until the next count for a request or block, which may have many headers."""


class HoldsInput(Protocol):
    """A connection of a caller."""

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being served."""

    @property
    def served_bytes(self) -> int:
        """Bytes of the head that is being served."""

    @property
    def unserved_bytes(self) -> int:
        """Bytes of unfinished heads, unread input and bodies that have not been sent on."""

    def shed(self) -> None:
        """Drop the unserved input and respond with 503."""


class HasConnections(Protocol):
    """A server."""

    def holders(self) -> "list[HoldsInput]":
        """Return the open connections."""


class MemoryBudget:
    """A limit in bytes. ``uncounted`` is what may arrive until the next count.

    Between two counts the limit may be exceeded by a sixteenth.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.uncounted = limit
        self._servers: list[HasConnections] = []

    def add(self, server: HasConnections) -> None:
        """Include the connections of a server."""
        self._servers.append(server)

    def held(self) -> int:
        """Return how many bytes callers' input holds now."""
        return sum(one.served_bytes + one.unserved_bytes for one in self._holders())

    def count(self) -> None:
        """Add up what is held; over the limit, shed down to three quarters of it.

        Unfinished heads go first, then requests that wait for their turn and bodies; the largest
        of each before the smaller ones.
        """
        held = self.held()
        if held > self.limit:
            sizes = [(one.is_waiting, one.unserved_bytes, one) for one in self._holders()]
            sizes = [entry for entry in sizes if entry[1]]
            sizes.sort(key=_order, reverse=True)
            for _, size, holder in sizes:
                if held <= self.limit * 3 // 4:
                    break
                held -= size
                holder.shed()
        self.uncounted = max(self.limit - held, self.limit // 16)

    def _holders(self) -> list[HoldsInput]:
        return [one for server in self._servers for one in server.holders()]


def _order(entry: tuple[bool, int, HoldsInput]) -> tuple[bool, int]:
    return entry[0], entry[1]
