"""What the image is made of, tried on trees of the test's own; tests/kubernetes/ runs the image."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support import needs
from tools.image_root import libraries, main, place, precompile


def test_place_copies_a_file_to_where_it_stands(tmp_path: Path) -> None:
    """With its directories, its content and its mode."""
    source = tmp_path / "from/a/file"
    source.parent.mkdir(parents=True)
    source.write_text("text", encoding="utf-8")
    source.chmod(0o751)
    root = tmp_path / "root"
    place(source, root)
    there = root / source.relative_to("/")
    assert there.read_text(encoding="utf-8") == "text"
    assert there.stat().st_mode & 0o777 == 0o751


def test_place_keeps_links_on_the_way(tmp_path: Path) -> None:
    """A link to a directory, then one to a file: both are links in the root too, and lead there."""
    real = tmp_path / "usr/lib"
    real.mkdir(parents=True)
    (real / "library.so.1.2").write_text("code", encoding="utf-8")
    (real / "library.so.1").symlink_to("library.so.1.2")
    (tmp_path / "lib").symlink_to("usr/lib")
    root = tmp_path / "root"
    for _ in range(2):  # a second library that comes the same way finds the links there
        place(tmp_path / "lib/library.so.1", root)
    there = root / tmp_path.relative_to("/")
    assert (there / "lib").readlink() == Path("usr/lib")
    assert (there / "usr/lib/library.so.1").readlink() == Path("library.so.1.2")
    assert (there / "lib/library.so.1").read_text(encoding="utf-8") == "code"


def test_place_copies_directories(tmp_path: Path) -> None:
    """Everything below comes along."""
    source = tmp_path / "conf.d"
    source.mkdir()
    (source / "one").touch()
    place(source, tmp_path / "root")
    assert (tmp_path / "root" / source.relative_to("/") / "one").exists()


@needs.programs("ldd")
def test_libraries_of_what_is_in_the_root(tmp_path: Path) -> None:
    """The C library and the loader are found through a program; plain files have none."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "text").write_text("#!/bin/sh\n", encoding="utf-8")
    assert libraries(root) == set()
    shutil.copy(os.path.realpath(sys.executable), root / "python3")
    names = {path.name for path in libraries(root)}
    assert any(name.startswith("libc.so") for name in names)
    assert any(name.startswith("ld-linux") for name in names)


def test_precompiled_modules_need_no_look_at_their_source(tmp_path: Path) -> None:
    """Equal sources make equal files, whenever they were written; a mistake is told."""
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
    """Other than two arguments are explained."""
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
