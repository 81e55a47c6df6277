"""CPU time, memory and wake-ups of a process, from /proc."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time of all threads of a process in seconds, with a resolution of 10 ms."""

    user: float
    system: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read it."""
        # The second field, in parentheses, may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(int(fields[11]) * _TICK, int(fields[12]) * _TICK)

    @property
    def total(self) -> float:
        """User and system time."""
        return self.user + self.system

    def __sub__(self, earlier: "Usage") -> "Usage":
        return Usage(self.user - earlier.user, self.system - earlier.system)


def running_time(pid: int) -> float:
    """Return the CPU time of all running threads in seconds, with nanosecond resolution."""
    texts = (path.read_text() for path in _threads(pid, "schedstat"))
    return sum(int(text.split()[0]) for text in texts) / 1e9


def wake_ups(pid: int) -> int:
    """Return the number of voluntary context switches of the process's threads."""
    return sum(
        _number("voluntary_ctxt_switches", path.read_text()) for path in _threads(pid, "status")
    )


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes, shared pages included."""
    return _number("VmRSS", Path(f"/proc/{pid}/status").read_text()) * 1024


def peak(pid: int) -> int:
    """Return the maximum of its resident memory in bytes."""
    return _number("VmHWM", Path(f"/proc/{pid}/status").read_text()) * 1024


def _threads(pid: int, name: str) -> Iterator[Path]:
    return Path(f"/proc/{pid}/task").glob(f"*/{name}")


def _number(name: str, text: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"/proc does not know {name} here")
    return int(found[1])
