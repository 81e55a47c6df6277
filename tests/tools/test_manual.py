"""The manual page, compared with the program and rendered by groff."""

import subprocess
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli import main
from tests.support import needs
from tools import manual
from tools.manual import PAGE, commands, page, roff


def test_page_is_up_to_date() -> None:
    """`make manual` would change nothing."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_command_and_flag_is_in_it() -> None:
    """With the program's version."""
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
def test_groff_renders_it_without_warnings() -> None:
    """As readable text."""
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(PAGE)],  # noqa: S607 - whichever this machine has
        capture_output=True,
        check=True,
    )
    assert shown.stderr == b""
    text = shown.stdout.decode()
    assert "candescent-proxy - brings the tokens to a banking API" in text
    assert "candescent-proxy init --sandbox trial" in text.replace("\u2010", "-")
    assert "\\" not in text.replace('\\"', "").replace("\\\n", "")  # an example's line goes on


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
def test_troff_syntax_is_escaped(text: str, escaped: str) -> None:
    """In any text."""
    assert roff(text) == escaped


def test_writing_and_printing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have the same page."""
    monkeypatch.setattr(manual, "PAGE", tmp_path / "page.1")
    assert manual.main(["--write"]) == 0
    assert manual.main([]) == 0
    assert (tmp_path / "page.1").read_text(encoding="utf-8") == capsys.readouterr().out
