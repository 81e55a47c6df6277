"""A proxy that counts its function calls and memory allocations.

::

    python -m bench.counting BASE_URL SETTINGS

``cost`` starts it. It prints its port on standard output. A line on standard input
starts counting (``calls``, ``names`` or ``blocks``), an empty line stops it and prints the counts
as a line of JSON. It runs on uvloop, as the program does, so that the event loop's own calls
are not counted.
"""

import asyncio
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import uvloop

from proxy.config import loader
from proxy.runtime.app import App
from proxy.telemetry import logs


class Count(Protocol):
    """A counter that is called as a ``sys.setprofile`` function."""

    def note(self, frame: FrameType, event: str, arg: Any) -> None:
        """Process one event."""

    def result(self) -> dict[str, int]:
        """Return the counts."""


class Calls:
    """Counts the calls of Python functions and of C functions."""

    def __init__(self) -> None:
        self._events: Counter[str] = Counter()

    def note(self, _frame: FrameType, event: str, _arg: Any) -> None:
        """Count one event."""
        self._events[event] += 1

    def result(self) -> dict[str, int]:
        """Return both counts."""
        return {"python_calls": self._events["call"], "c_calls": self._events["c_call"]}


class FunctionCounts:
    """Counts the calls of each function by its name."""

    def __init__(self) -> None:
        self._names: Counter[str] = Counter()

    def note(self, frame: FrameType, event: str, arg: Any) -> None:
        """Count one event."""
        if event == "call":
            self._names[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            self._names[f"{arg.__qualname__} in {frame.f_code.co_qualname}"] += 1

    def result(self) -> dict[str, int]:
        """Return the count of each."""
        return dict(self._names)


class Blocks:
    """Counts memory blocks: allocated, not freed, and left in reference cycles.

    Only the difference between two events is seen; what a C function allocates and frees within
    one call is not.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.disable()
        self._asked = 0
        self._last = self._first = sys.getallocatedblocks()

    def note(self, _frame: FrameType, _event: str, _arg: Any) -> None:
        """Add the difference to the last event."""
        now = sys.getallocatedblocks()
        if now > self._last:
            self._asked += now - self._last
        self._last = now

    def result(self) -> dict[str, int]:
        """Return the three counts."""
        circular = gc.collect()
        gc.enable()
        kept = max(sys.getallocatedblocks() - self._first, 0)
        return {"blocks": self._asked, "kept_blocks": kept, "circular_objects": circular}


COUNTS: dict[str, Callable[[], Count]] = {"calls": Calls, "names": FunctionCounts, "blocks": Blocks}


class Commands:
    """Runs the commands on standard input."""

    def __init__(self) -> None:
        self._count: Count | None = None

    def read(self) -> None:
        """Run one command; exit at the end of the input."""
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # the parent process is gone
        if self._count is None:
            self._count = COUNTS[line.strip()]()
            print("counting", flush=True)
            sys.setprofile(self._count.note)
            return
        sys.setprofile(None)
        print(json.dumps(self._count.result()), flush=True)
        self._count = None


async def serve(base_url: str, overrides: dict[str, Any]) -> None:
    """Run a proxy until the input ends."""
    flags: dict[str, Any] = {
        "base_url": base_url,
        "institution_id": "00016",
        "client_id": "bench",
        "client_secret": "bench",
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        **overrides,
    }
    config = loader.load(None, {}, flags)
    logs.write_stderr_on_thread()
    logs.set_up(config.log)
    app = App(config, loader.logins(config))
    await app.start()
    print(app.data_address.port, flush=True)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), Commands().read)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], json.loads(sys.argv[2])))
