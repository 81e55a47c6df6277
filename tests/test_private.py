"""Files for their owner alone: whole or not there, and nothing that was there is lost."""

import os
from pathlib import Path

import pytest

from proxy.private import keep_old, private_folder, write_private, write_whole


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return path.stat().st_mode & 0o777


def test_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """A text that cannot be written leaves the old file and nothing beside it."""
    path = tmp_path / "kept"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "ä" * 100_000 + "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_modes_whatever_the_umask_and_the_file_before(tmp_path: Path) -> None:
    """A file that everybody could read is its owner's alone afterwards."""
    path, mask = tmp_path / "file", os.umask(0)
    try:
        path.write_text("old")
        path.chmod(0o666)
        write_private(path, "new")
        assert (path.read_text(), mode(path)) == ("new", 0o600)
        write_whole(path, "newer", 0o644)
        assert (path.read_text(), mode(path)) == ("newer", 0o644)
        private_folder(tmp_path / "deep" / "folder")
        assert mode(tmp_path / "deep" / "folder") == 0o700
    finally:
        os.umask(mask)


def test_old_content_is_kept_under_the_next_free_number(tmp_path: Path) -> None:
    """However often a file is replaced; the copies are for the owner alone."""
    path = tmp_path / "file"
    assert keep_old(path) is None
    for number in (1, 2):
        path.write_text(f"content {number}")
        path.chmod(0o644)
        kept = keep_old(path)
        assert kept == tmp_path / f"file.{number}"
        assert (kept.read_text(), mode(kept)) == (f"content {number}", 0o600)
    assert path.read_text() == "content 2"
