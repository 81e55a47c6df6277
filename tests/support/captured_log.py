"""Captures the proxy's log for one test."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from pydantic import TypeAdapter

from proxy.telemetry import logs
from proxy.telemetry.telemetry_settings import LogSettings


class CapturedLog(io.StringIO):
    """A stream that receives the log."""

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the parsed lines so far, of one event if it is given."""
        parsed = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in parsed if event in ("", line["event"])]


@contextmanager
def captured_log(level: str = "debug", form: str = "json") -> Iterator[CapturedLog]:
    """Write the log into a ``CapturedLog`` instead of standard error; restore it afterwards."""
    root = logging.getLogger()
    before = root.handlers, root.level
    log = CapturedLog()
    logs.set_up(TypeAdapter(LogSettings).validate_python({"level": level, "format": form}), log)
    try:
        yield log
    finally:
        root.handlers, root.level = before[0], before[1]
        structlog.reset_defaults()
