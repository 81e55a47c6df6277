"""Log lines: setup of structlog, redaction, and lines for events and requests."""

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
