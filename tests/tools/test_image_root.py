"""Parts of the image, from test trees; tests/kubernetes/ runs the image."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support import needs
from tools.image_root import libraries, main, place, precompile


def test_place_copies_a_file(tmp_path: Path) -> None:
    """With directories, content and mode."""
    source = tmp_path / "from/a/file"
    source.parent.mkdir(parents=True)
    source.write_text("text", encoding="utf-8")
    source.chmod(0o751)
    root = tmp_path / "root"
    place(source, root)
    there = root / source.relative_to("/")
    assert there.read_text(encoding="utf-8") == "text"
    assert there.stat().st_mode & 0o777 == 0o751


def test_place_keeps_links(tmp_path: Path) -> None:
    """To directories and files."""
    real = tmp_path / "usr/lib"
    real.mkdir(parents=True)
    (real / "library.so.1.2").write_text("code", encoding="utf-8")
    (real / "library.so.1").symlink_to("library.so.1.2")
    (tmp_path / "lib").symlink_to("usr/lib")
    root = tmp_path / "root"
    for _ in range(2):  # a second library finds the links there
        place(tmp_path / "lib/library.so.1", root)
    there = root / tmp_path.relative_to("/")
    assert (there / "lib").readlink() == Path("usr/lib")
    assert (there / "usr/lib/library.so.1").readlink() == Path("library.so.1.2")
    assert (there / "lib/library.so.1").read_text(encoding="utf-8") == "code"


def test_place_copies_directories(tmp_path: Path) -> None:
    """With their content."""
    source = tmp_path / "conf.d"
    source.mkdir()
    (source / "one").touch()
    place(source, tmp_path / "root")
    assert (tmp_path / "root" / source.relative_to("/") / "one").exists()


@needs.programs("ldd")
def test_libraries_of_the_root(tmp_path: Path) -> None:
    """Those of programs, the loader included."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "text").write_text("#!/bin/sh\n", encoding="utf-8")
    assert libraries(root) == set()
    shutil.copy(os.path.realpath(sys.executable), root / "python3")
    names = {path.name for path in libraries(root)}
    assert any(name.startswith("libc.so") for name in names)
    assert any(name.startswith("ld-linux") for name in names)


def test_precompiled_modules_are_reproducible(tmp_path: Path) -> None:
    """Equal sources give equal files; errors are reported."""
    compiled = []
    for time in (1_000_000_000, 1_500_000_000):
        root = tmp_path / str(time)
        root.mkdir()
        module = root / "module.py"
        module.write_text("value = 1\n", encoding="utf-8")
        os.utime(module, (time, time))
        assert precompile(root)
        (path,) = (root / "__pycache__").iterdir()
        compiled.append(path.read_bytes())
    assert compiled[0] == compiled[1]
    (tmp_path / "wrong.py").write_text("value =\n", encoding="utf-8")
    assert not precompile(tmp_path)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Two arguments are required."""
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
