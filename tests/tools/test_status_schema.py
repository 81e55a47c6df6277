"""The schema of /api/status, compared with the model."""

import json
from pathlib import Path

import pytest

from tools import status_schema
from tools.status_schema import SCHEMA, schema


def test_schema_is_up_to_date() -> None:
    """`make status-page` would change nothing."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == schema()


def test_every_field_is_described() -> None:
    """Itself or by its type."""
    made = schema()
    for part in [made, *made["$defs"].values()]:
        for field in part.get("properties", {}).values():
            types = [field, *field.get("anyOf", ())]
            names = [each["$ref"].rpartition("/")[2] for each in types if "$ref" in each]
            assert field.get("description") or any("description" in made["$defs"][n] for n in names)


def test_writing_and_printing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have the same schema."""
    monkeypatch.setattr(status_schema, "SCHEMA", tmp_path / "schema.json")
    assert status_schema.main(["--write"]) == 0
    assert status_schema.main([]) == 0
    assert capsys.readouterr().out == (tmp_path / "schema.json").read_text()
