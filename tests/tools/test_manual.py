"""The manual page, against the program and against the tools that show it."""

import subprocess
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli import main
from tests.support import needs
from tools import manual
from tools.manual import PAGE, commands, page, roff


def test_page_is_what_the_program_says() -> None:
    """docs/candescent-proxy.1 is up to date (`make manual`)."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_command_and_flag_is_in_it() -> None:
    """None is left out, and the version is the program's."""
    text = page()
    assert f'"candescent-proxy {__version__}"' in text
    common = text.partition(".SH SETTINGS")[2].partition("\n.SH")[0]
    for name, command in commands(main.parser()).items():
        section = text.partition(f".SS \\fB{roff(name)}\\fR")[2].partition("\n.S")[0]
        assert section, name
        flags = {flag for action in command._actions for flag in action.option_strings}
        for flag in flags - {"-h", "--help"}:
            shown = section + common if "SETTING" in section else section
            assert f"\\fB{roff(flag)}\\fR" in shown


@needs.programs("groff")
def test_groff_shows_it_without_a_complaint() -> None:
    """With every warning on; what comes out is text for a person."""
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(PAGE)],  # noqa: S607 - whichever this machine has
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert shown.stderr == b""
    text = shown.stdout.decode()
    assert "candescent-proxy - brings the tokens to a banking API" in text
    assert "candescent-proxy init --sandbox trial" in text.replace("\u2010", "-")
    assert "\\" not in text.replace('\\"', "")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        (".dot first", "\\&.dot first"),
        ("'quote first", "\\&'quote first"),
        ("--flag", "\\-\\-flag"),
        ("a\\b", "a\\eb"),
        ("…", "\\[u2026]"),
    ],
)
def test_what_troff_would_take_for_its_own(text: str, escaped: str) -> None:
    """Everything that means something to it is escaped."""
    assert roff(text) == escaped


def test_writing_and_printing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have the same page."""
    monkeypatch.setattr(manual, "PAGE", tmp_path / "page.1")
    assert manual.main(["--write"]) == 0
    assert manual.main([]) == 0
    assert (tmp_path / "page.1").read_text(encoding="utf-8") == capsys.readouterr().out
