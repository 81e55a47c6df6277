"""Secret files: what is a valid secret, and atomic writing."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.errors import ConfigError
from proxy.tokens.secret_files import (
    MAX_SECRET,
    back_up,
    private_folder,
    read_key,
    read_secret,
    write_atomically,
    write_private,
)


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return path.stat().st_mode & 0o777


def test_write_is_atomic(tmp_path: Path) -> None:
    """After a failure the old file is unchanged, and no temporary file remains."""
    path = tmp_path / "kept"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "ä" * 100_000 + "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_file_is_private(tmp_path: Path) -> None:
    """Whatever the umask and the earlier file."""
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


def test_old_content_is_backed_up(tmp_path: Path) -> None:
    """Under the next free number, readable by the owner only."""
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


def error_of(path: Path) -> str:
    """Return the error for an invalid secret file."""
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
def test_line_end_is_dropped(tmp_path: Path, content: bytes, text: str) -> None:
    """A secret is one line of printable ASCII."""
    assert read_secret(secret(tmp_path, content), "client_secret_file") == text


def test_mounted_secret_is_read(tmp_path: Path) -> None:
    """Through two links."""
    (tmp_path / "..2026").mkdir()
    secret(tmp_path / "..2026", b"hush")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "client-secret").symlink_to("..data/secret")
    assert read_secret(tmp_path / "client-secret", "client_secret_file") == "hush"


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n"])
def test_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    """With setting, path and remedy."""
    file = secret(tmp_path, content)
    assert error_of(file) == f"client_secret_file: {file} is empty. Write the secret into it."


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
def test_invalid_content_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Two lines, binary, another encoding or too long; it is not quoted."""
    file = secret(tmp_path, content)
    text = error_of(file)
    assert text.startswith(f"client_secret_file: {file} ")
    assert "hush" not in text


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """With its setting."""
    assert error_of(tmp_path / "none") == (
        f"client_secret_file: {tmp_path / 'none'} cannot be read (No such file or directory)"
    )


def test_directory_is_an_error(tmp_path: Path) -> None:
    """A wrong mount path makes one."""
    assert "Is a directory" in error_of(tmp_path)


def test_path_with_nul_is_an_error() -> None:
    """There is no traceback."""
    assert "cannot be read" in error_of(Path("a\0b"))


def test_endless_file_is_an_error() -> None:
    """Reading stops at the limit."""
    assert "printable ASCII" in error_of(Path("/dev/zero"))


def test_private_key(tmp_path: Path) -> None:
    """With any line ends; other content is an error that does not show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = tmp_path / "key"
    file.write_bytes(pem.replace(b"\n", b"\r\n"))
    assert read_key(file, "client_key_file") == pem.decode("ascii")
    file.write_bytes(b"s3cret")
    with pytest.raises(ConfigError, match=r"client_key_file: .* private key in PEM") as error:
        read_key(file, "client_key_file")
    assert "s3cret" not in str(error.value)
