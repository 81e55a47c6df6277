"""The file of the access log: written by a thread, renamed at a size, opened anew on a signal."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from proxy.errors import ConfigError
from proxy.telemetry.logs.log_writer import LogWriter
from proxy.telemetry.logs.structured import structlog
from proxy.telemetry.telemetry_settings import LogSettings

MODE = 0o640


def open_access_file(settings: LogSettings) -> "AccessFile | None":
    """Return the file, or None without one. Raises ``ConfigError`` if it cannot be written."""
    file = settings.access_file
    if file is None or settings.access == "off":
        return None
    try:
        return AccessFile(file, settings.access_file_size, settings.access_file_keep)
    except OSError as error:
        text = (
            f"log.access_file: {file} cannot be written ({error.strerror}); give the proxy's user "
            "a folder that it may write, with room"
        )
        raise ConfigError([text]) from error


class AccessFile(LogWriter):
    """A log writer onto a file.

    At ``size`` bytes (0: never) the file is renamed to ``….1``, and earlier ones to the next
    number; ``keep`` of them stay. Other kinds of files (pipes, terminals) are not renamed. Raises
    ``OSError`` if the file cannot be opened, or has no room.
    """

    def __init__(self, path: Path, size: int, keep: int) -> None:
        self._path = path
        self._keep = keep
        self._is_reopened = False
        self._rotation_size = size
        # Bytes at which the file is renamed; later after a failure.
        self._next_rotation = size
        descriptor = _open(path)
        try:
            _check_room(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._has_failed = False
        super().__init__(descriptor, _report_dropped)

    def reopen(self) -> None:
        """Open the file again, before the next line is written."""
        self._is_reopened = True
        self.write("")  # wakes the thread

    def end(self, seconds: float = 1.0) -> None:
        """Write what waits, for up to ``seconds``, and close the file."""
        super().end(seconds)
        if not self._thread.is_alive() and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # The thread.

    def _write_bytes(self, text: str) -> bool:
        """Write whole lines, or none; return whether they were written."""
        if self._is_reopened:
            self._is_reopened = False
            self._replace("reopened")
        status = os.fstat(self._descriptor)
        is_regular = stat.S_ISREG(status.st_mode)
        if is_regular and 0 < self._next_rotation <= status.st_size:
            self._rotate(status.st_size)
            status = os.fstat(self._descriptor)
        is_written = super()._write_bytes(text)
        if self._error is not None:
            if not self._has_failed:
                self._warn("written", self._error)
            if is_regular:
                with suppress(OSError):  # the beginning of a line that did not fit
                    os.ftruncate(self._descriptor, status.st_size)
        if text:
            self._has_failed = not is_written
        return is_written

    def _rotate(self, size: int) -> None:
        """Rename the files, and begin a new one."""
        try:
            for number in range(self._keep, 1, -1):
                with suppress(FileNotFoundError):
                    self._numbered(number - 1).replace(self._numbered(number))
            if self._keep:
                self._path.replace(self._numbered(1))
            else:
                self._path.unlink()
        except FileNotFoundError:
            pass  # renamed by another program, which will send the signal
        except OSError as error:
            self._warn("renamed", error)
            self._next_rotation = size + self._rotation_size
            return
        if self._replace("opened after it was renamed"):
            self._next_rotation = self._rotation_size

    def _replace(self, action: str) -> bool:
        """Open the file again; keep the open one if that fails."""
        try:
            descriptor = _open(self._path)
        except OSError as error:
            self._warn(action, error)
            return False
        os.close(self._descriptor)
        self._descriptor = descriptor
        return True

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _warn(self, action: str, error: OSError) -> None:
        log = structlog.get_logger()
        log.warning(
            "access log file failed",
            file=str(self._path),
            detail=f"it cannot be {action}: {error.strerror}",
        )


def _report_dropped(count: int) -> str:
    """Report dropped lines in the other log, because the file's format may be another program's."""
    log = structlog.get_logger()
    log.warning("access log lines dropped", lines=count)
    return ""


def _open(path: Path) -> int:
    """Open a file for appending. A pipe without a reader is an error, not a wait."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags, MODE)


def _check_room(descriptor: int) -> None:
    """Raise ``OSError`` where the disk of a regular file is full."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and hasattr(os, "fstatvfs"):
        disk = os.fstatvfs(descriptor)
        if disk.f_blocks and not disk.f_bavail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
