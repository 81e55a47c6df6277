"""Where log lines go, and in which form: structlog's set-up."""

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

from proxy.telemetry.logs.redaction import EventDict, redact
from proxy.telemetry.logs.structured import structlog
from proxy.telemetry.telemetry_settings import LogSettings

_encode = json.JSONEncoder(default=repr).encode


def _to_json(event: EventDict, **_options: Any) -> str:
    # ``json.dumps`` makes an encoder for each line that has an option.
    return _encode(event)


class _Tolerant:
    """A stream that does not mind when it cannot write: a full disk must not end a request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or do not."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def set_up(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Configure structlog, and route the standard library's log through the same end."""
    out = stream or sys.stderr
    tolerant = cast(TextIO, _Tolerant(out))
    readable = settings.format == "console" or (settings.format == "auto" and out.isatty())
    level = getattr(logging, settings.level.upper())
    shared: list[Any] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = (
        structlog.dev.ConsoleRenderer(colors=out.isatty() and not os.environ.get("NO_COLOR"))
        if readable
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(tolerant),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(tolerant)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))


def json_lines() -> Callable[[EventDict], None] | None:
    """Return what writes fields as a line of JSON past structlog's chain; None on a terminal.

    What goes this way must be harmless: nothing is redacted, and no level is asked.
    """
    config = structlog.get_config()
    if not isinstance(config["processors"][-1], structlog.processors.JSONRenderer):
        return None
    write = config["logger_factory"]().msg
    return lambda event: write(_encode(event))
