"""How findings are told: wrapped lines, a summary, JSON, and colour for a terminal only."""

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
        """Say so."""
        return True


def told(stream: io.StringIO, *findings: CheckResult) -> str:
    """Return what is written of these findings."""
    tell = result_writer(stream)
    for finding in findings:
        tell(finding)
    return stream.getvalue()


def test_lines_are_wrapped_below_each_other() -> None:
    """The cure stands under what it cures; no path is broken."""
    first, *rest = lines(BAD, 60)
    assert first.startswith("failed   files          client_secret_file:")
    assert all(line.startswith(" " * 24) for line in rest)
    assert any(line.strip() == "/very/long" * 9 for line in rest)
    assert any("Fix: Write the secret into it" in line for line in rest)
    assert lines(ok("name", "Good.")) == ["ok       name           Good."]


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([], "No problems found."),
        ([ok("a", "b")], "No problems found."),
        ([WARNED], "1 warning"),
        ([BAD, WARNED, BAD], "2 failed, 1 warning"),
    ],
)
def test_summary(findings: list[CheckResult], text: str) -> None:
    """The last line counts what needs a cure."""
    assert summary(findings) == text


def test_pipe_gets_plain_text() -> None:
    """No colour where nobody would see it."""
    text = told(io.StringIO(), BAD, WARNED)
    assert "\x1b" not in text
    assert text.splitlines()[0].startswith("failed   files")


def test_terminal_gets_colour_unless_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is honoured, and what is written is the same."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = told(Terminal(), BAD)
    assert "\x1b[1;31mfailed" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = told(Terminal(), BAD)
    assert "31m" not in plain
    bare = re.sub(r"\x1b\[\d*m", "", plain)
    assert [line.rstrip() for line in bare.splitlines()] == lines(BAD, 100)


def test_document() -> None:
    """Programs get every finding, and one word on the whole."""
    read = json.loads(document([WARNED, ok("a", "b")]))
    assert read["ok"] is True
    assert [(found["level"], found["cause"]) for found in read["results"]] == [
        ("warning", "clock"),
        ("ok", None),
    ]
    assert json.loads(document([BAD]))["ok"] is False
