"""The schema of /api/status in the documentation, against the model that it is made from."""

import json
from pathlib import Path

import pytest

from tools import status_schema
from tools.status_schema import DOCUMENT, PLACE, SCHEMA, schema, tables


def test_page_has_the_document_that_the_program_answers() -> None:
    """docs/status-page.md shows the model as it is (`make status-page`)."""
    page = DOCUMENT.read_text(encoding="utf-8")
    assert PLACE.put(page, tables()) == page


def test_committed_schema_is_the_models() -> None:
    """So is the JSON Schema beside it."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == schema()


def test_every_field_stands_in_a_table() -> None:
    """No field of any part is left out."""
    shown = tables()
    for part in [schema(), *schema()["$defs"].values()]:
        for name in part.get("properties", ()):
            assert f"| `{name}` |" in shown


def test_writing_mends_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--write`` puts tables and schema where they belong, and touches nothing else."""
    page, file = tmp_path / "page.md", tmp_path / "schema.json"
    page.write_text(f"before\n{PLACE.opening}\nold\n{PLACE.closing}\nafter\n")
    monkeypatch.setattr(status_schema, "DOCUMENT", page)
    monkeypatch.setattr(status_schema, "SCHEMA", file)
    assert status_schema.main(["--write"]) == 0
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
    assert tables().strip() in page.read_text()
    assert json.loads(file.read_text()) == schema()


def test_printing_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Without it the tables are printed."""
    assert status_schema.main([]) == 0
    assert capsys.readouterr().out.strip() == tables().strip()
