"""Log lines.

Modules:

    lines.py         sets up structlog and standard error
    structured.py    structlog, imported without what the proxy does not use
    log_writer.py    a stream that never blocks
    redaction.py     removes secrets from fields
    event_log.py     a line for each event
    access_log.py    a line for each selected request
"""

from proxy.telemetry.logs.access_log import AccessLog
from proxy.telemetry.logs.event_log import EventLog
from proxy.telemetry.logs.lines import dropped_lines, set_up, write_stderr_on_thread
from proxy.telemetry.telemetry_settings import LogSettings


class LogObserver:
    """Logs events, and the requests selected by ``options``."""

    def __init__(self, options: LogSettings) -> None:
        self.event = EventLog().event
        self.request = AccessLog(options).request


__all__ = ["LogObserver", "dropped_lines", "set_up", "write_stderr_on_thread"]
