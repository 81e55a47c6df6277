"""What /proc knows of a process: CPU time, memory, how often it woke."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time of all threads of a process, in seconds, to a hundredth."""

    user: float
    system: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read it."""
        # The second field is the name, in parentheses, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(int(fields[11]) * _TICK, int(fields[12]) * _TICK)

    @property
    def total(self) -> float:
        """User and system time."""
        return self.user + self.system

    def __sub__(self, earlier: "Usage") -> "Usage":
        return Usage(self.user - earlier.user, self.system - earlier.system)


def running_time(pid: int) -> float:
    """Return the CPU time of all living threads in seconds, exact enough for an idle process."""
    texts = (path.read_text() for path in _threads(pid, "schedstat"))
    return sum(int(text.split()[0]) for text in texts) / 1e9


def wake_ups(pid: int) -> int:
    """Return how often a thread of the process has gone to sleep, and so been woken."""
    return sum(
        _number("voluntary_ctxt_switches", path.read_text()) for path in _threads(pid, "status")
    )


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds, shared ones included."""
    return _number("VmRSS", Path(f"/proc/{pid}/status").read_text()) * 1024


def peak(pid: int) -> int:
    """Return the most that it has held."""
    return _number("VmHWM", Path(f"/proc/{pid}/status").read_text()) * 1024


def _threads(pid: int, name: str) -> Iterator[Path]:
    return Path(f"/proc/{pid}/task").glob(f"*/{name}")


def _number(name: str, text: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"/proc does not know {name} here")
    return int(found[1])
