"""Log output: destination, format and level."""

import io
import logging

import pytest
import structlog

from proxy.telemetry import logs
from proxy.telemetry.events import OperatorWarning
from proxy.telemetry.logs.event_log import EventLog
from proxy.telemetry.telemetry_settings import LogSettings
from tests.telemetry.logs.writing import LEVELS, Format, Level, lines, set_up


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


class Broken(io.StringIO):
    """A closed pipe or a full disk."""

    def write(self, text: str) -> int:
        """Raise an error."""
        raise BrokenPipeError


def test_json_line() -> None:
    """One JSON object with event, level and time in UTC."""
    out = set_up()
    structlog.get_logger().info("listening", port=8080)
    (line,) = lines(out)
    assert (line["event"], line["level"], line["port"]) == ("listening", "info", 8080)
    assert line["timestamp"].endswith("Z")


def test_default_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readable on a terminal, JSON in a pipe."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, readable in ((io.StringIO(), False), (Terminal(), True)):
        logs.set_up(LogSettings(), stream)
        structlog.get_logger().info("listening")
        assert stream.getvalue().startswith("{") != readable
        assert ("\x1b[" in stream.getvalue()) == readable


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal too."""
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    logs.set_up(LogSettings(), terminal)
    structlog.get_logger().info("listening", port=8080)
    assert "\x1b" not in terminal.getvalue()
    assert "port=8080" in terminal.getvalue()


def test_console_format_in_a_file_has_no_colours() -> None:
    """Plain text."""
    out = set_up(form="console")
    structlog.get_logger().warning("listening", port=8080)
    assert "\x1b" not in out.getvalue()
    assert "port=8080" in out.getvalue()


@pytest.mark.parametrize("level", LEVELS)
def test_level(level: Level) -> None:
    """Lines below the level are dropped."""
    out = set_up(level)
    for name in LEVELS:
        getattr(structlog.get_logger(), name)(name)
    assert [line["event"] for line in lines(out)] == list(LEVELS[LEVELS.index(level) :])


def test_libraries_log_warnings_only() -> None:
    """In the same format, at any level."""
    out = set_up("debug")
    logger = logging.getLogger("some.library")
    for write in (logger.debug, logger.info, logger.warning):
        write("said %s", "so")
    (line,) = lines(out)
    assert (line["event"], line["level"]) == ("said so", "warning")


def test_level_applies_to_libraries() -> None:
    """Level error drops their warnings."""
    out = set_up("error")
    logging.getLogger("some.library").warning("careful")
    assert not out.getvalue()


@pytest.mark.parametrize("stream", [Broken(), "closed"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_write_error_is_ignored(
    stream: io.StringIO | str, form: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    """A closed pipe or a full disk fails no request."""
    if isinstance(stream, str):
        stream = io.StringIO()
        stream.close()
        # Such a stream raises for isatty too.
        stream.isatty = lambda: False  # type: ignore[method-assign]
    logs.set_up(LogSettings(format=form), stream)
    EventLog().event(OperatorWarning("lost"))
    logging.getLogger("some.library").error("lost")
    assert capsys.readouterr().err == ""
