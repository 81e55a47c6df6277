"""Open-loop load on raw sockets: a fixed rate of requests.

::

    python -m bench.openloop PORT PATH RATE SECONDS SEED

The time of each request is scheduled in advance (Poisson arrivals, the
same for every proxy), and its latency counts from then. So a proxy that pauses
delays all requests of that time, and none is omitted because the client was waiting.
The timers of asyncio and uvloop have a resolution of a millisecond, a hundred times what is
measured here; ``select`` is more precise.
"""

import gc
import json
import random
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

MOST = 512
"""Maximum of connections; further requests wait, and their latency counts."""
PATIENCE = 10.0
"""Seconds after the last request until requests without a response count as failed."""


@dataclass(slots=True)
class LatencyResult:
    """Latencies in seconds in order of completion, each with the Unix time of its start.

    ``lateness`` is the delay of requests by the load generator itself.
    """

    latencies: list[float] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    failed: int = 0


class Caller:
    """One connection and its request in flight."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = b""

    def fileno(self) -> int:
        """Return the file descriptor for ``select``."""
        return self.socket.fileno()

    def ask(self, request: bytes, due: float) -> None:
        """Send a request scheduled for ``due``."""
        self.due = due
        self._received = b""
        self.socket.sendall(request)

    def hear(self) -> int | None:
        """Read; return the status of a complete response, 0 for a lost connection."""
        block = self.socket.recv(262_144)
        self._received += block
        if block and not is_whole(self._received):
            return None
        return int(self._received[9:12] or 0) if block else 0


def is_whole(answer: bytes) -> bool:
    """Whether a response is complete."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the times of requests in seconds from the start."""
    chance = random.Random(seed)  # noqa: S311 - decides when, not what
    due, at = [], 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        due.append(at)
    return due


class Loop:
    """Sends a request at each of the times ``due`` and reads the responses."""

    def __init__(self, port: int, path: str, due: Sequence[float]) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode("ascii")
        self._due = deque(due)
        self._end = due[-1] + PATIENCE
        self._free = [Caller(port) for _ in range(32)]
        self._busy: set[Caller] = set()
        self._start = time.perf_counter() + 0.1
        self._epoch = time.time() - time.perf_counter() + self._start
        self._result = LatencyResult()

    def run(self) -> LatencyResult:
        """Run the loop to its end."""
        while (self._due or self._busy) and self._now() < self._end:
            self._send()
            wait = self._due[0] - self._now() if self._due else 0.1
            for caller in select.select(self._busy, (), (), max(wait, 0))[0]:
                self._receive(caller)
        self._result.failed += len(self._busy)
        for caller in (*self._busy, *self._free):
            caller.socket.close()
        return self._result

    def _now(self) -> float:
        return time.perf_counter() - self._start

    def _send(self) -> None:
        while self._due and self._due[0] <= self._now() and len(self._busy) < MOST:
            due = self._due.popleft()
            caller = self._free.pop() if self._free else Caller(self._port)
            caller.ask(self._request, due)
            self._busy.add(caller)
            self._result.lateness.append(self._now() - due)

    def _receive(self, caller: Caller) -> None:
        status = caller.hear()
        if status is None:
            return
        self._busy.discard(caller)
        self._result.latencies.append(self._now() - caller.due)
        self._result.began.append(self._epoch + caller.due)
        self._result.failed += not 200 <= status < 400
        if status:
            self._free.append(caller)
        else:
            caller.socket.close()


def main(arguments: Sequence[str]) -> None:
    """Run the command line and print the result as JSON."""
    port, path, rate, seconds, seed = arguments
    due = schedule(float(rate), float(seconds), int(seed))
    gc.disable()  # a collection would be measured as latency
    print(json.dumps(asdict(Loop(int(port), path, due).run())))


if __name__ == "__main__":
    main(sys.argv[1:])
