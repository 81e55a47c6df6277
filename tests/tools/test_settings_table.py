"""The reference of settings, compared with the model."""

from pathlib import Path

import pytest

from proxy.config import loader
from proxy.config.examples import known_paths
from proxy.config.explain import PREFIX
from proxy.errors import ConfigError
from tools import settings_table
from tools.settings_table import DOCUMENT, PLACE, Reference, Row, shown, table

ROWS = Reference().rows()
WITH_VARIABLE = [row for row in ROWS if row.variable]
NEEDED = {
    "CANDESCENT_BASE_URL": "http://127.0.0.1:1",
    "CANDESCENT_INSTITUTION_ID": "00016",
    "CANDESCENT_CLIENT_ID": "key",
    "CANDESCENT_CLIENT_SECRET": "secret",
}


def by_path(row: Row) -> str:
    """Return the path of a setting, as a test id."""
    return row.path


def test_page_is_up_to_date() -> None:
    """`make settings` would change nothing."""
    page = DOCUMENT.read_text(encoding="utf-8")
    assert PLACE.put(page, table()) == page


def test_every_setting_occurs_once() -> None:
    """And no others."""
    paths = [row.path for row in ROWS]
    assert sorted(paths) == sorted(".".join(path) for path in known_paths())


@pytest.mark.parametrize("row", ROWS, ids=by_path)
def test_every_setting_has_type_and_meaning(row: Row) -> None:
    """Without characters that break the table."""
    assert row.takes
    assert row.meaning
    assert str(row).count("|") == 4
    assert "\n" not in str(row)


@pytest.mark.parametrize("row", WITH_VARIABLE, ids=by_path)
def test_variables_are_read(row: Row) -> None:
    """Each sets its setting."""
    errors: list[str] = []
    found = loader.read_environment({row.variable: "x"}, errors)
    assert errors == []
    *sections, name = row.path.split(".")
    for section in sections:
        found = found[section]
    assert found == {name: "x"}


@pytest.mark.parametrize(
    "row", [row for row in WITH_VARIABLE if row.default not in ("", "required")], ids=by_path
)
def test_defaults_are_correct(row: Row) -> None:
    """A written default changes nothing."""
    default = row.default.replace("`", "")
    written = loader.load(None, NEEDED | {row.variable: default}, {})
    assert written == loader.load(None, NEEDED, {})


@pytest.mark.parametrize("row", [row for row in ROWS if not row.variable], ids=by_path)
def test_settings_without_a_variable(row: Row) -> None:
    """Only the file can set them."""
    variable = PREFIX + row.path.replace(".", "__").upper()
    with pytest.raises(ConfigError):
        loader.load(None, NEEDED | {variable: "x"}, {})


def test_required_settings() -> None:
    """The institution, and credentials in one of two forms."""
    assert [row.path for row in ROWS if row.default == "required"] == ["institution_id"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ([], ""),
        ("", ""),
        (True, "`true`"),
        (0.0, "`0`"),
        (0.25, "`0.25`"),
        (5, "`5`"),
        (["v1", "v2"], "`v1`, `v2`"),
        ([{"path": "/a", "methods": []}], "`/a`"),
    ],
)
def test_defaults_are_formatted(value: object, text: str) -> None:
    """As in a configuration file."""
    assert shown(value) == text


def test_writing_updates_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the marks only."""
    page = tmp_path / "page.md"
    page.write_text(f"before {PLACE.opening} old {PLACE.closing} after", encoding="utf-8")
    monkeypatch.setattr(settings_table, "DOCUMENT", page)
    assert settings_table.main(["--write"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert "| `institution_id`<br>`CANDESCENT_INSTITUTION_ID` | text, required |" in text


def test_printing_has_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments."""
    assert settings_table.main([]) == 0
    assert capsys.readouterr().out.strip() == settings_table.table()
