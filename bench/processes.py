"""Starts a program on its own core, and ends it."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 10.0
"""Seconds until a program must have ended."""


class Process:
    """A program pinned to ``core``, within a ``with`` block.

    Its output goes to ``log``. Proxy settings of the environment are removed,
    unless ``variables`` set them.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        core: int,
        log: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._command = ["taskset", "--cpu-list", str(core), *map(str, command)]
        self._log = log
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith("CANDESCENT_") and not name.lower().endswith("_proxy")
        }
        self._environment = inherited | dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; taskset executes the program in place."""
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended unexpectedly."""
        return self._process is not None and self._process.poll() is not None

    def last_words(self) -> str:
        """Return the end of its output."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def __enter__(self) -> Self:
        """Start it."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Terminate it, and kill it after a time."""
        assert self._process is not None
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
            return
        self._process.kill()
        self._process.wait()
        print(f"{self._command[3]} had to be killed.", file=sys.stderr)


def free_port() -> int:
    """Return a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def can_connect(port: int) -> bool:
    """Whether a loopback port accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
