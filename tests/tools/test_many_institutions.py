"""The measurement of many institutions: that it measures, and where it writes it down."""

import re
from pathlib import Path

import pytest

from tools import many_institutions
from tools.many_institutions import DOCUMENT, PLACE, main, names, table


def test_it_measures_and_writes_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small run prints a figure for everything, and puts the same into the page."""
    page = tmp_path / "page.md"
    before = f"before {PLACE.opening} old {PLACE.closing} after"
    page.write_text(before, encoding="utf-8")
    monkeypatch.setattr(many_institutions, "DOCUMENT", page)
    assert main(["--institutions", "4", "--seconds", "2", "--write"]) == 0
    shown = capsys.readouterr().out.strip()
    assert page.read_text(encoding="utf-8") == PLACE.put(
        f"before {PLACE.opening}{PLACE.closing} after", shown
    )
    figures = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", shown, re.MULTILINE)[1:])
    assert float(figures["memory with one institution's token"].removesuffix(" MB")) > 10
    assert float(figures["CPU of a refresh, its TLS handshake included"].removesuffix(" ms")) > 0
    assert len(figures) == 6
    assert "Python" in shown


def test_page_has_what_was_measured() -> None:
    """docs/performance.md shows a measurement of a thousand, and what it ran on."""
    measured = PLACE.read(DOCUMENT.read_text(encoding="utf-8"))
    assert measured.strip().startswith("1,000 institutions in use, on ")
    lines = [line for line in measured.splitlines() if line.startswith("| ")]
    expected = [line for line in table(1000, []).splitlines() if line.startswith("| ")]
    assert lines[: len(expected)] == expected
    assert len(lines) == 7


def test_names_are_institutions() -> None:
    """Each is a number of five digits, and none comes twice."""
    found = names(1000)
    assert len(set(found)) == 1000
    assert all(re.fullmatch(r"[0-9]{5}", name) for name in found)
