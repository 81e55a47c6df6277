"""Setup of structlog: the format and the stream of log lines."""

import atexit
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

from proxy.telemetry.access_format import AccessFormat
from proxy.telemetry.logs.log_writer import LogWriter
from proxy.telemetry.logs.redaction import EventDict, redact
from proxy.telemetry.logs.structured import structlog
from proxy.telemetry.telemetry_settings import LogSettings

Write = Callable[[EventDict], object]

_encode = json.JSONEncoder(default=repr).encode


def _to_json(event: EventDict, **_options: Any) -> str:
    # ``json.dumps`` would create an encoder for each line.
    return _encode(event)


class _Tolerant:
    """A stream whose errors are ignored: a full disk must not end a request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write the text, if possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream, if possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class _LoggerFactory(structlog.WriteLoggerFactory):
    """Makes loggers that write to ``out``."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self.out = out


def write_stderr_on_thread() -> LogWriter | None:
    """Let a thread write ``sys.stderr`` from now on, tracebacks included; return the stream.

    None where the process was started without one. Its last lines are flushed at exit.
    """
    if sys.stderr is None:
        return None
    sys.stderr.flush()
    writer = LogWriter(sys.stderr.fileno(), _dropped_line)
    # At the end Python flushes sys.stderr, and exits with 120 where that fails.
    sys.stderr = writer
    atexit.register(writer.end)
    return writer


def end() -> None:
    """Write what waits, for up to a second; for an end without Python's exit handlers."""
    if isinstance(sys.stderr, LogWriter):
        sys.stderr.end()


def dropped_lines() -> int:
    """Return how many lines the log has dropped: nobody read them, or they could not be written."""
    return sys.stderr.dropped if isinstance(sys.stderr, LogWriter) else 0


def _dropped_line(count: int) -> str:
    """Return the line in the place of ``count`` lines that were dropped."""
    event: Any = {"event": "log lines dropped", "lines": count}
    for process in structlog.get_config()["processors"]:
        event = process(None, "warning", event)
    return f"{event}\n"


def set_up(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Configure structlog, and route the standard library's log to the same stream.

    It is ``sys.stderr`` unless one is given.
    """
    out = stream or sys.stderr or open(os.devnull, "w")  # noqa: PTH123,SIM115 - until the end
    tolerant = cast(TextIO, out if isinstance(out, LogWriter) else _Tolerant(out))
    readable = settings.format == "console" or (settings.format == "auto" and out.isatty())
    level = getattr(logging, settings.level.upper())
    shared: list[Any] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = (
        structlog.dev.ConsoleRenderer(
            colors=out.isatty() and not os.environ.get("NO_COLOR"), sort_keys=False
        )
        if readable
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_LoggerFactory(tolerant),
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


def template_lines(template: AccessFormat, file: TextIO | LogWriter | None = None) -> Write:
    """Return a function that writes fields by ``template`` to ``file``, or to where the log goes.

    The fields must not contain secrets: nothing is redacted. The log level is not checked.
    """
    write = _writes(file)
    return lambda event: write(template.line(event))


def _writes(file: TextIO | LogWriter | None) -> Callable[[str], object]:
    out = structlog.get_config()["logger_factory"].out if file is None else file
    return cast(Callable[[str], object], out.write)


def json_lines(
    file: TextIO | LogWriter | None = None, *, even_on_terminal: bool = False
) -> Write | None:
    """Return a function that writes fields as JSON, bypassing structlog; None on a terminal.

    They are not redacted, nor is the log level checked.
    """
    last = structlog.get_config()["processors"][-1]
    if not (even_on_terminal or isinstance(last, structlog.processors.JSONRenderer)):
        return None
    write = _writes(file)
    return lambda event: write(_encode(event) + "\n")
