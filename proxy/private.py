"""Files that only their owner can read, written whole or not at all."""

import os
import tempfile
from itertools import count
from pathlib import Path


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, in place of what is there. Raises ``OSError``."""
    write_whole(path, content, 0o600)


def write_whole(path: Path, content: str, mode: int) -> None:
    """Write a file with this ``mode``, in place of what is there. Raises ``OSError``.

    Whoever reads it meanwhile gets the old content or the new, never a part. On Windows, who can
    read it is what its folder says.
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
    """Make a folder that only its owner can enter; one that is there is left as it is.

    Raises ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def keep_old(path: Path) -> Path | None:
    """Keep a copy of what stands in a file, for its owner alone; return where, None for no file.

    It is called like the file with a number behind it. Raises ``OSError``.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    for number in count(1):
        kept = path.with_name(f"{path.name}.{number}")
        try:
            handle = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return kept
    raise AssertionError("numbers do not end")
