"""Log lines: structlog's set-up, redaction, and facts and requests as lines."""

from proxy.telemetry.logs.access_log import AccessLog
from proxy.telemetry.logs.fact_log import EventLog
from proxy.telemetry.logs.lines import set_up

__all__ = ["AccessLog", "EventLog", "set_up"]
