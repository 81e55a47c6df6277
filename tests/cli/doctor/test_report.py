"""Reports: wrapped lines, a summary, JSON, and colours on terminals."""

import io
import json
import re

import pytest

from proxy.cli.doctor import remedies
from proxy.cli.doctor.report import document, lines, result_writer, summary
from proxy.cli.doctor.results import CheckResult, ok, problem

BAD = problem("files", remedies.SECRET_MISSING, setting="client_secret_file", file="/very/long" * 9)
WARNED = problem("clock", remedies.CLOCK, seconds=90, direction="behind")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def report(stream: io.StringIO, *results: CheckResult) -> str:
    """Return the printed report."""
    tell = result_writer(stream)
    for result in results:
        tell(result)
    return stream.getvalue()


def test_lines_are_wrapped_and_aligned() -> None:
    """Paths are not broken."""
    first, *rest = lines(BAD, 60)
    assert first.startswith("failed   files          client_secret_file:")
    assert all(line.startswith(" " * 24) for line in rest)
    assert any(line.strip() == "/very/long" * 9 for line in rest)
    assert any("Fix: Write the secret into it" in line for line in rest)
    assert lines(ok("name", "Good.")) == ["ok       name           Good."]


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([], "No problems found."),
        ([ok("a", "b")], "No problems found."),
        ([WARNED], "1 warning"),
        ([BAD, WARNED, BAD], "2 failed, 1 warning"),
    ],
)
def test_summary(results: list[CheckResult], text: str) -> None:
    """It counts the problems."""
    assert summary(results) == text


def test_pipe_gets_plain_text() -> None:
    """Without colours."""
    text = report(io.StringIO(), BAD, WARNED)
    assert "\x1b" not in text
    assert text.splitlines()[0].startswith("failed   files")


def test_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless NO_COLOR is set; the text is the same."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = report(Terminal(), BAD)
    assert "\x1b[1;31mfailed" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = report(Terminal(), BAD)
    assert "31m" not in plain
    bare = re.sub(r"\x1b\[\d*m", "", plain)
    assert [line.rstrip() for line in bare.splitlines()] == lines(BAD, 100)


def test_document() -> None:
    """Every result, and an overall status."""
    read = json.loads(document([WARNED, ok("a", "b")]))
    assert read["ok"] is True
    assert [(found["level"], found["cause"]) for found in read["results"]] == [
        ("warning", "clock"),
        ("ok", None),
    ]
    assert json.loads(document([BAD]))["ok"] is False
