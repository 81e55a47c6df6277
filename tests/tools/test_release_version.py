"""One version in program, charts, tag and changelog."""

import shutil
from pathlib import Path

import pytest

from proxy import __version__
from tests.support.program import ROOT
from tools.release_version import PLACES, check, check_tag, main, section

CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- Later.

## [{version}] - 2026-11-28

### Added

- A proxy.

## [0.0.1] - 2026-01-01

- Nothing.

[Unreleased]: https://example.com
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files with a version, and a changelog with a release."""
    for file in {file for file, _ in PLACES}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    text = CHANGELOG.format(version=__version__)
    (tmp_path / "CHANGELOG.md").write_text(text, encoding="utf-8")
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    """Replace a text of a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_this_tree_has_one_version(capsys: pytest.CaptureFixture[str]) -> None:
    """In program, charts and manual page."""
    assert main([]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("file", sorted({file for file, _ in PLACES[1:]}))
def test_another_version_is_named(tree: Path, file: str) -> None:
    """With its file."""
    change(tree / file, __version__, "9.9.9")
    errors = list(check(tree))
    assert errors
    assert all(f"{file} has version 9.9.9" in error for error in errors)


def test_tag_and_changelog_agree(tree: Path) -> None:
    """With the version."""
    assert list(check_tag(tree, f"v{__version__}")) == []
    assert list(check_tag(tree, "v9.9.9")) == [
        f"the tag is v9.9.9, but proxy/__init__.py has version {__version__}"
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"## [{__version__}] - 2026-11-28", f"## [{__version__}]"),
        ("### Added\n\n- A proxy.\n", ""),
    ],
    ids=["no date", "no text"],
)
def test_section_must_be_dated_and_not_empty(tree: Path, old: str, new: str) -> None:
    """Otherwise it is no release."""
    change(tree / "CHANGELOG.md", old, new)
    (error,) = check_tag(tree, f"v{__version__}")
    assert error.startswith(f"CHANGELOG.md has no section '## [{__version__}] - YYYY-MM-DD'")


def test_notes_are_the_section_of_the_version(tree: Path) -> None:
    """Only that."""
    assert section(tree, __version__) == ("2026-11-28", "### Added\n\n- A proxy.")
    assert section(tree, "0.0.1") == ("2026-01-01", "- Nothing.")
    assert section(tree, "7.7.7") == ("", "")


def test_errors_exit_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """So a workflow stops."""
    assert main(["--tag", "v9.9.9"]) == 1
    assert "the tag is v9.9.9" in capsys.readouterr().err
