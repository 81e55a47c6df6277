"""Secret files: read into memory, and written atomically, readable for their owner only."""

import errno
import os
import stat
import tempfile
from itertools import count
from pathlib import Path

from proxy.errors import ConfigError
from proxy.tokens.client_authentication import algorithm_of
from proxy.tokens.secret_content import NOT_ASCII, secret_problem

MAX_SECRET = 65_536
"""Bytes; a larger file is refused."""


def write_private(path: Path, content: str) -> None:
    """Write or replace a file that only its owner can read. Raises ``OSError``."""
    write_atomically(path, content, 0o600)


def write_atomically(path: Path, content: str, mode: int) -> None:
    """Write or replace a file with this ``mode``. Raises ``OSError``.

    Readers see the old content or the new, never a part. On Windows the permissions are those of
    the folder.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def private_folder(path: Path) -> None:
    """Make a folder with mode 0700, unless it exists. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def back_up(path: Path) -> Path | None:
    """Copy a file to ``NAME.1`` (or the next free number), readable for its owner only.

    Return the copy's path, or None if there is no file. Raises ``OSError``.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    for number in count(1):
        backup = path.with_name(f"{path.name}.{number}")
        try:
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return backup
    raise AssertionError("numbers do not end")


def read_secret(path: Path, setting: str) -> str:
    """Return the text of a secret file without line ends at its start and end.

    Raises ``ConfigError`` with the setting's name, never with the content.
    """
    raw = _read(path, setting)
    problem = secret_problem(raw)
    if problem is None and len(raw) > MAX_SECRET:
        problem = NOT_ASCII
    if problem is not None and not problem.is_doubt:
        raise ConfigError([f"{setting}: {path} {problem.text}. {problem.fix}"])
    return raw.decode("ascii").strip("\r\n")


def read_lines(path: Path, setting: str) -> list[str]:
    """Return the lines of a file of secrets. Raises ``ConfigError`` as ``read_secret`` does."""
    raw = _read(path, setting)
    try:
        return raw.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise ConfigError([f"{setting}: {path} does not hold lines of ASCII"]) from None


def read_key(path: Path, setting: str) -> str:
    """Return the private key (PEM) in a file. Raises ``ConfigError`` as ``read_secret`` does."""
    pem = "\n".join(read_lines(path, setting)) + "\n"
    try:
        algorithm_of(pem)
    except ValueError as error:
        raise ConfigError([f"{setting}: {path} {error}"]) from None
    return pem


def check_readable(path: Path) -> None:
    """Raise ``OSError`` for a pipe or socket, on which a reader may wait for ever."""
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a socket; give a file")


def _read(path: Path, setting: str) -> bytes:
    try:
        check_readable(path)
        with path.open("rb") as file:
            return file.read(MAX_SECRET + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError([f"{setting}: {path} cannot be read ({why})"]) from error
