"""Where lines go, in which form, and which are written."""

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
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Broken(io.StringIO):
    """A stream whose other end is gone, or whose disk is full."""

    def write(self, text: str) -> int:
        """Fail."""
        raise BrokenPipeError


def test_json_line() -> None:
    """A line is one JSON object with what happened, how bad it is, and when in UTC."""
    out = set_up()
    structlog.get_logger().info("listening", port=8080)
    (line,) = lines(out)
    assert (line["event"], line["level"], line["port"]) == ("listening", "info", 8080)
    assert line["timestamp"].endswith("Z")


def test_format_follows_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless told otherwise: readable on a terminal, JSON in a pipe."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, readable in ((io.StringIO(), False), (Terminal(), True)):
        logs.set_up(LogSettings(), stream)
        structlog.get_logger().info("listening")
        assert stream.getvalue().startswith("{") != readable
        assert ("\x1b[" in stream.getvalue()) == readable


def test_no_colours_where_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is honoured, also on a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    logs.set_up(LogSettings(), terminal)
    structlog.get_logger().info("listening", port=8080)
    assert "\x1b" not in terminal.getvalue()
    assert "port=8080" in terminal.getvalue()


def test_console_in_a_file_has_no_colours() -> None:
    """A readable log that is not on a terminal is plain text."""
    out = set_up(form="console")
    structlog.get_logger().warning("listening", port=8080)
    assert "\x1b" not in out.getvalue()
    assert "port=8080" in out.getvalue()


@pytest.mark.parametrize("level", LEVELS)
def test_level(level: Level) -> None:
    """Nothing below the level is written, everything from it on is."""
    out = set_up(level)
    for name in LEVELS:
        getattr(structlog.get_logger(), name)(name)
    assert [line["event"] for line in lines(out)] == list(LEVELS[LEVELS.index(level) :])


def test_libraries_are_heard_when_something_is_wrong() -> None:
    """Their warnings come as lines like ours; their chatter does not, not even at debug."""
    out = set_up("debug")
    logger = logging.getLogger("some.library")
    for write in (logger.debug, logger.info, logger.warning):
        write("said %s", "so")
    (line,) = lines(out)
    assert (line["event"], line["level"]) == ("said so", "warning")


def test_level_holds_for_libraries_too() -> None:
    """An operator who wants errors only gets errors only."""
    out = set_up("error")
    logging.getLogger("some.library").warning("careful")
    assert not out.getvalue()


@pytest.mark.parametrize("stream", [Broken(), "closed"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_log_that_cannot_be_written_ends_nothing(
    stream: io.StringIO | str, form: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader that has gone away, or a full disk, is no reason to fail a request."""
    if isinstance(stream, str):
        stream = io.StringIO()
        stream.close()
        # Such a stream cannot even say whether it is a terminal.
        stream.isatty = lambda: False  # type: ignore[method-assign]
    logs.set_up(LogSettings(format=form), stream)
    EventLog().event(OperatorWarning("lost"))
    logging.getLogger("some.library").error("lost")
    assert capsys.readouterr().err == ""
