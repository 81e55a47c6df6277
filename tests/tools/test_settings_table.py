"""The reference of settings, against the model that it is made from."""

from pathlib import Path

import pytest

from proxy.config import loader
from proxy.config.explain import PREFIX, known_paths
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
    """The path of a setting, for pytest to show."""
    return row.path


def test_page_has_the_settings_that_the_program_has() -> None:
    """docs/configuration.md shows the model as it is (`make settings`)."""
    page = DOCUMENT.read_text(encoding="utf-8")
    assert PLACE.put(page, table()) == page


def test_every_setting_is_there_once() -> None:
    """No setting is left out, and none is made up."""
    paths = [row.path for row in ROWS]
    assert sorted(paths) == sorted(".".join(path) for path in known_paths())


@pytest.mark.parametrize("row", ROWS, ids=by_path)
def test_every_setting_says_what_it_means(row: Row) -> None:
    """Each has a type and a meaning, and nothing that would break the table."""
    assert row.takes
    assert row.meaning
    assert str(row).count("|") == 4
    assert "\n" not in str(row)


@pytest.mark.parametrize("row", WITH_VARIABLE, ids=by_path)
def test_variables_are_those_that_are_read(row: Row) -> None:
    """The variable beside a setting is the one that sets it."""
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
def test_defaults_are_what_leaving_out_means(row: Row) -> None:
    """A default, written as it is shown, is taken, and changes nothing."""
    default = row.default.replace("`", "")
    written = loader.load(None, NEEDED | {row.variable: default}, {})
    assert written == loader.load(None, NEEDED, {})


@pytest.mark.parametrize("row", [row for row in ROWS if not row.variable], ids=by_path)
def test_others_are_for_the_file_alone(row: Row) -> None:
    """Where no variable is shown, one would not do."""
    variable = PREFIX + row.path.replace(".", "__").upper()
    with pytest.raises(ConfigError):
        loader.load(None, NEEDED | {variable: "x"}, {})


def test_what_is_required_is_required() -> None:
    """Only the institution has no way round; credentials may be given in two ways."""
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
def test_defaults_are_shown_as_they_are_written(value: object, text: str) -> None:
    """Numbers without needless zeros, lists with commas, nothing for nothing."""
    assert shown(value) == text


def test_writing_mends_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--write`` changes what stands between the marks, and nothing else."""
    page = tmp_path / "page.md"
    page.write_text(f"before {PLACE.opening} old {PLACE.closing} after", encoding="utf-8")
    monkeypatch.setattr(settings_table, "DOCUMENT", page)
    assert settings_table.main(["--write"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert "| `institution_id`<br>`CANDESCENT_INSTITUTION_ID` | text, required |" in text


def test_printing_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments the table is printed."""
    assert settings_table.main([]) == 0
    assert capsys.readouterr().out.strip() == settings_table.table()
