"""Starting a program on a core of its own, and ending it."""

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
"""Seconds that a program is given to end."""


class Process:
    """A program pinned to ``core``, for as long as a ``with`` block lasts.

    What it says goes to ``log``. Nothing that the environment says about a proxy reaches it,
    unless ``variables`` say it again.
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
        """Its process id; taskset becomes the program, so it is the program's."""
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is gone, which it should not be."""
        return self._process is not None and self._process.poll() is not None

    def last_words(self) -> str:
        """Return the end of what it said."""
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
        """End it, in good order if it will."""
        assert self._process is not None
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
            return
        self._process.kill()
        self._process.wait()
        print(f"{self._command[3]} had to be killed.", file=sys.stderr)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def can_connect(port: int) -> bool:
    """Whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
