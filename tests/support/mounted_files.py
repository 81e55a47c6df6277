"""A Secret as Kubernetes mounts it: a directory whose files all change at once."""

from itertools import count
from pathlib import Path


class MountedSecret:
    """A mounted Secret: each file is a link into ``..data``, a link to the current version.

    A change writes a new version, moves the link ``..data`` atomically, and removes the old one.
    """

    def __init__(self, directory: Path, **files: str | bytes) -> None:
        directory.mkdir()
        self._directory = directory
        self._numbers = count(1)
        self._data = directory / "..data"
        self.swap(**files)

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file, for a configuration."""
        return self._directory / name

    def swap(self, **files: str | bytes) -> None:
        """Replace all files by these."""
        old = self._data.resolve() if self._data.exists() else None
        version = self._directory / f"..version_{next(self._numbers)}"
        version.mkdir()
        for name, content in files.items():
            write(version / name, content)
            link = self._directory / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        fresh = self._directory / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.replace(self._data)
        if old is not None:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()


def write(file: Path, content: str | bytes) -> None:
    """Write a file in place, as an editor or ``echo`` does."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
