"""Copies a program and its dependencies into a new root: ``python3 image_root.py VENV ROOT``.

``ROOT`` then contains all that the program needs without a distribution: the interpreter, its
standard library, the virtual environment, the shared libraries that they load, certificates, and
the package records that scanners read. Runs within the image's
build (see Dockerfile) and needs only Python and Debian's base system.
"""

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

NOT_LOADED = shutil.ignore_patterns(
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo"),
    *("_ctypes_test*", "_curses*", "_dbm*", "_gdbm*", "_sqlite3*", "_test*", "_tkinter*"),
    *("readline*", "sqlite3", "config-*", "site-packages", "dist-packages", "__pycache__"),
)
"""Parts of the standard library that a server does not need."""

NOT_RUN = shutil.ignore_patterns(
    *("activate*", "Activate*", "include", "lib64", "pyvenv.cfg.in", "__pycache__"),
    *("*.c", "*.h", "*.hash", "*.pxd", "*.pxi", "*.pyi", "*.pyx"),
)
"""Parts of a virtual environment that are not needed at run time."""

WRITTEN = {
    "etc/passwd": "candescent:x:65532:65532::/:/nonexistent\n",
    "etc/group": "candescent:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
"""Files that the C library reads for user names and host look-ups."""

COPIED = (
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/os-release",
    "/etc/ssl/certs/ca-certificates.crt",
)
"""Files of the dynamic linker, of scanners, and of TLS."""


def main(arguments: Sequence[str]) -> int:
    """Fill the root; return the exit code."""
    if len(arguments) != 2:
        print("usage: python3 image_root.py VENV ROOT", file=sys.stderr)
        return 2
    venv, root = (Path(argument).absolute() for argument in arguments)
    stdlib = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(stdlib, root / stdlib.relative_to("/"), symlinks=True, ignore=NOT_LOADED)
    shutil.copytree(venv, root / venv.relative_to("/"), symlinks=True, ignore=NOT_RUN)
    place(venv / "bin/python3", root)
    for library in libraries(root):
        place(library, root)
    for path in map(Path, COPIED):
        if path.exists():
            place(path, root)
    for name, text in WRITTEN.items():
        (root / name).write_text(text, encoding="utf-8")
    _run("ldconfig", "-r", root, check=True)
    record_packages(root)
    return 0 if precompile(root) else 1


def place(path: Path, root: Path) -> None:
    """Copy ``path`` to the same path below the root; links stay links."""
    for part in (*reversed(path.parents[:-1]), path):
        if part.is_symlink():
            there = root / part.relative_to("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            if not there.is_symlink():
                there.symlink_to(part.readlink())
            target = part.parent / part.readlink() / path.relative_to(part)
            place(Path(os.path.normpath(target)), root)
            return
    there = root / path.relative_to("/")
    there.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, there, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(path, there)


def libraries(root: Path) -> set[Path]:
    """Return the shared libraries of the programs and modules below ``root``."""
    binaries = [path for path in files(root) if _is_elf(path)]
    found = _run("ldd", *binaries)
    if missing := re.findall(r"(\S+) => not found", found):
        raise SystemExit(
            f"image_root: libraries that are nowhere: {', '.join(sorted(set(missing)))}"
        )
    paths = {Path(name) for name in re.findall(r"(?:=> |^\t)(/\S+) \(0x", found, re.MULTILINE)}
    return {path for path in paths if not path.is_relative_to(root)}


def files(root: Path) -> Iterator[Path]:
    """Yield every regular file below ``root``."""
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def record_packages(root: Path) -> None:
    """Write the records of the Debian packages that the files are from, for scanners."""
    place_of_records = root / "var/lib/dpkg/status.d"
    place_of_records.mkdir(parents=True)
    paths = ["/" + str(path.relative_to(root)) for path in files(root)]
    for package in sorted(_owners(paths)):
        record = _run("dpkg-query", "--status", package)
        (place_of_records / package.partition(":")[0]).write_text(record, encoding="utf-8")


def _owners(paths: Iterable[str]) -> set[str]:
    # A package may list a file by its name from before the merge of / and /usr.
    names = {name for path in paths for name in (path, path.removeprefix("/usr"))}
    return set(
        re.findall(
            r"^([a-z0-9.+-]+(?::\w+)?): /",
            _run("dpkg-query", "--search", *sorted(names)),
            re.MULTILINE,
        )
    )


def _run(*command: str | Path, check: bool = False) -> str:
    # ldd fails for files without libraries, dpkg for files of no package.
    done = subprocess.run(command, capture_output=True, text=True, check=check)  # noqa: S603 - ours
    return done.stdout


def precompile(root: Path) -> bool:
    """Compile all modules, because the root will be read-only; return whether all succeeded.

    The result depends on the sources only, so builds are reproducible.
    """
    return bool(
        compileall.compile_dir(
            root,
            quiet=1,
            maxlevels=30,
            workers=0,
            stripdir=str(root),
            prependdir="/",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
