"""Secret files: what counts as one when it is read, and that they are written whole."""

import os
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.tokens.secret_files import (
    MAX_SECRET,
    back_up,
    private_folder,
    read_secret,
    write_atomically,
    write_private,
)


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
        write_atomically(path, "newer", 0o644)
        assert (path.read_text(), mode(path)) == ("newer", 0o644)
        private_folder(tmp_path / "deep" / "folder")
        assert mode(tmp_path / "deep" / "folder") == 0o700
    finally:
        os.umask(mask)


def test_old_content_is_kept_under_the_next_free_number(tmp_path: Path) -> None:
    """However often a file is replaced; the copies are for the owner alone."""
    path = tmp_path / "file"
    assert back_up(path) is None
    for number in (1, 2):
        path.write_text(f"content {number}")
        path.chmod(0o644)
        kept = back_up(path)
        assert kept == tmp_path / f"file.{number}"
        assert (kept.read_text(), mode(kept)) == (f"content {number}", 0o600)
    assert path.read_text() == "content 2"


def secret(path: Path, content: bytes) -> Path:
    """Return a file with this content."""
    file = path / "secret"
    file.write_bytes(content)
    return file


def complaint(path: Path) -> str:
    """Return what is said about a file that is no secret."""
    with pytest.raises(ConfigError) as caught:
        read_secret(path, "client_secret_file")
    (mistake,) = caught.value.errors
    return mistake


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"hush", "hush"),
        (b"hush\n", "hush"),
        (b"hush\r\n", "hush"),
        (b"\nhush\n\n", "hush"),
        (b"a b=c/+:~", "a b=c/+:~"),
        (b" hush ", " hush "),
        (b"x" * MAX_SECRET, "x" * MAX_SECRET),
    ],
)
def test_secret_without_the_line_end_of_an_editor(
    tmp_path: Path, content: bytes, text: str
) -> None:
    """One line of printable ASCII; only line ends around it are dropped."""
    assert read_secret(secret(tmp_path, content), "client_secret_file") == text


def test_secret_of_a_kubernetes_mount(tmp_path: Path) -> None:
    """A mounted Secret is a link to a link, and read through both."""
    (tmp_path / "..2026").mkdir()
    secret(tmp_path / "..2026", b"hush")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "client-secret").symlink_to("..data/secret")
    assert read_secret(tmp_path / "client-secret", "client_secret_file") == "hush"


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    """An empty file is told as empty, with the setting, the path and what to do."""
    file = secret(tmp_path, content)
    assert complaint(file) == f"client_secret_file: {file} is empty; write the secret into it"


@pytest.mark.parametrize(
    "content",
    [
        b"hush\nhush\n",
        b"hush\x00",
        b"hush\x1b[0m",
        b"\x89PNG\r\n\x1a\n",
        b"h\xc3\xbcsh",
        b"\xef\xbb\xbfhush",
        b"h\x00u\x00s\x00h\x00",
        b"hu\tsh",
        b"x" * (MAX_SECRET + 1),
    ],
)
def test_file_that_holds_something_else(tmp_path: Path, content: bytes) -> None:
    """Two lines, binary, another encoding, far too much: refused, and nothing of it shown."""
    file = secret(tmp_path, content)
    assert complaint(file) == (
        f"client_secret_file: {file} does not hold one line of printable ASCII"
    )


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is told with the setting that names it."""
    assert complaint(tmp_path / "none") == (
        f"client_secret_file: {tmp_path / 'none'} cannot be read (No such file or directory)"
    )


def test_file_that_is_a_directory(tmp_path: Path) -> None:
    """A directory, which is what a wrong mount path makes, is told as one."""
    assert "Is a directory" in complaint(tmp_path)


def test_path_that_no_file_can_have() -> None:
    """A NUL in a path is a mistake like any other, not a traceback."""
    assert "cannot be read" in complaint(Path("a\0b"))


def test_endless_file_is_not_read_to_its_end() -> None:
    """A path that leads to something endless is refused as soon as it is too long."""
    assert "printable ASCII" in complaint(Path("/dev/zero"))
