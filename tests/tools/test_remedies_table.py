"""The table of what ``doctor`` finds, against the remedies that it is made from."""

import re
from pathlib import Path

import pytest

from proxy.cli.doctor.remedies import REMEDIES
from tools import remedies_table
from tools.remedies_table import DOCUMENT, PLACE, table


def test_page_has_the_remedies_that_the_program_has() -> None:
    """docs/commands.md shows them as they are (`make manual`)."""
    assert PLACE.read(DOCUMENT.read_text(encoding="utf-8")).strip() == table()


def test_every_cause_has_a_line_of_three_cells() -> None:
    """Nothing in a sentence breaks the table."""
    _, _, *lines = table().splitlines()
    assert [re.findall(r"`([a-z0-9-]+)`", line)[0] for line in lines] == list(REMEDIES)
    assert all(line.count("|") == 4 for line in lines)


def test_writing_and_printing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--write`` changes what stands between the marks, and nothing else."""
    page = tmp_path / "page.md"
    page.write_text(f"before {PLACE.opening} old {PLACE.closing} after", encoding="utf-8")
    monkeypatch.setattr(remedies_table, "DOCUMENT", page)
    assert remedies_table.main(["--write"]) == 0
    assert remedies_table.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert capsys.readouterr().out.strip() in text
