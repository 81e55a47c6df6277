"""Log lines.

Modules:

    lines.py         sets up structlog and standard error
    structured.py    structlog, imported without what the proxy does not use
    log_writer.py    a stream that never blocks
    redaction.py     removes secrets from fields
    event_log.py     a line for each event
    access_log.py    a line for each selected request
    access_file.py   the file of these lines
"""

from proxy.telemetry.logs.access_file import open_access_file
from proxy.telemetry.logs.access_log import AccessLog
from proxy.telemetry.logs.event_log import EventLog
from proxy.telemetry.logs.lines import dropped_lines, end, set_up, write_stderr_on_thread
from proxy.telemetry.telemetry_settings import LogSettings


class LogObserver:
    """Logs events, and the requests selected by ``options``.

    Raises ``ConfigError`` for a file of requests that cannot be written.
    """

    def __init__(self, options: LogSettings) -> None:
        self._file = open_access_file(options)
        self.event = EventLog().event
        self.request = AccessLog(options, self._file).request

    @property
    def dropped(self) -> int:
        """How many lines were not written: nobody read them, or the disk is full."""
        return dropped_lines() + (0 if self._file is None else self._file.dropped)

    def reopen(self) -> None:
        """Open the file of requests anew, after another program has renamed it."""
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Write the waiting lines of the file, for up to a second, and close it."""
        if self._file is not None:
            self._file.end()


__all__ = ["LogObserver", "dropped_lines", "end", "set_up", "write_stderr_on_thread"]
