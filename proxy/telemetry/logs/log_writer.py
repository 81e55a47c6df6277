"""Writes log lines on a thread: a reader that stops reading blocks neither requests nor signals.

Lines wait in a queue that is bounded in size. When it is full, lines are dropped and counted, and
one line in their place says how many.
"""

import io
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

LIMIT = 4 << 20
"""Characters of the lines that wait."""

BATCH = 65_536
"""Characters after which a batch of lines is written: as much as a pipe holds."""

PAUSE = 0.02
"""Seconds between batches. It bounds how often the thread competes with the event loop."""

FLUSH_TIME = 1.0
"""Seconds that the end of the process waits for a slow reader."""

_PIPE_BUF = 4096
"""Bytes that a pipe takes without blocking once it is writable (POSIX, ``write``)."""

_DROPPED, _END, _IDLE = object(), object(), object()


class LogWriter(io.TextIOBase):
    """A text stream onto a file descriptor whose ``write`` never blocks and never fails.

    ``dropped_line`` returns the line that says how many lines are missing. ``write`` may be called
    by any thread, and by finalizers in the middle of another ``write``: it takes no lock.
    """

    encoding = "utf-8"

    def __init__(
        self, descriptor: int, dropped_line: Callable[[int], str], limit: int = LIMIT
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._dropped_line = dropped_line
        self._limit = limit
        self._queue: SimpleQueue[object] = SimpleQueue()
        # Each is changed by one side only; the difference is what waits.
        self._accepted_size = self._written_size = 0
        self._refused = self._failed = self._reported = 0
        self._is_dropping = False
        self._is_closed = False
        self._error: OSError | None = None
        """Why the last write failed; None if it succeeded."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many lines were not written: the queue was full, or the system call failed."""
        return self._refused + self._failed

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether the file is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Queue ``text``, or drop it; return its length."""
        size = len(text)
        if self._accepted_size - self._written_size + size > self._limit:
            self._refused += 1
            if not self._is_dropping:
                self._is_dropping = True
                self._queue.put(_DROPPED)
        elif self._is_closed:
            self._write_without_waiting(text)
        else:
            self._is_dropping = False
            self._accepted_size += size
            self._queue.put(text)
        return size

    def end(self, seconds: float = FLUSH_TIME) -> None:
        """Write what waits, for up to ``seconds``; later lines are written if the file has room."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(_END)
            self._thread.join(seconds)

    # The thread.

    def _run(self) -> None:
        marker: object = None
        has_failed = False
        while marker is not _END:
            batch, marker = self._next_batch()
            is_written = self._write_bytes("".join(batch))
            self._written_size += sum(map(len, batch))
            if not is_written:
                self._failed += len(batch)
                has_failed = True
            if marker is _DROPPED or marker is _END or (has_failed and is_written):
                has_failed = not self._report_dropped()
            if marker is _IDLE:
                time.sleep(PAUSE)

    def _next_batch(self) -> tuple[list[str], object]:
        """Wait for lines; return them and the marker behind them, None where more lines follow."""
        batch: list[str] = []
        size = 0
        while size < BATCH:
            try:
                item = self._queue.get(block=not batch)
            except Empty:
                return batch, _IDLE
            if not isinstance(item, str):
                return batch, item
            batch.append(item)
            size += len(item)
        return batch, None

    def _report_dropped(self) -> bool:
        """Write how many lines are missing here; return whether that was written."""
        self._is_dropping = False  # before the count is read: what is dropped now has its own line
        dropped = self.dropped
        if dropped > self._reported:
            if not self._write_bytes(self._dropped_line(dropped - self._reported)):
                return False
            self._reported = dropped
        return True

    def _write_bytes(self, text: str) -> bool:
        """Write, waiting for the reader; return whether all was written."""
        self._error = None
        rest = memoryview(text.encode(errors="backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process has made this file non-blocking
                time.sleep(PAUSE)
            except OSError as error:  # the reader is gone, or the disk is full
                self._error = error
                return False
        return True

    def _write_without_waiting(self, text: str) -> None:
        """Write a late line, such as an error at the interpreter's end, unless that would block."""
        with suppress(OSError, ValueError):
            if not self._thread.is_alive() and select.select([], [self._descriptor], [], 0)[1]:
                self._write_bytes(text[:_PIPE_BUF])
