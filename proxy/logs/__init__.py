"""Log lines: structlog's set-up, redaction, and facts and requests as lines."""

from .access_log import AccessLog
from .fact_log import FactLog
from .lines import set_up

__all__ = ["AccessLog", "FactLog", "set_up"]
