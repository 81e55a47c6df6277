"""The printed version, of the command and of compiled modules."""

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli.version import version_line
from tests.support.program import ROOT, environment, run_program


@pytest.mark.parametrize("command", ["candescent-proxy", "python -m proxy.cli"])
async def test_version(command: str) -> None:
    """The command and the module are the same program."""
    if command.startswith("python"):
        code, out, _ = await run_program("--version")
    else:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name(command),
            "--version",
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        out = (await process.communicate())[0].decode().strip()
        code = process.returncode or 0
    assert (code, out) == (0, version_line())


def line_in(folder: Path) -> str:
    """Return the line that a copy of the package prints."""
    program = "from proxy.cli.version import version_line; print(version_line())"
    return subprocess.check_output(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        text=True,
    )


def test_line_has_release_build_and_interpreter(tmp_path: Path) -> None:
    """For problem reports."""
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(ROOT / "proxy", tmp_path / "proxy", ignore=ignored)
    assert line_in(tmp_path) == f"candescent-proxy {__version__} (plain Python, {interpreter})\n"
    # Python looks for a library beside the source first, and so does the version line.
    (tmp_path / f"proxy/forwarding/forwarder{EXTENSION_SUFFIXES[0]}").touch()
    assert line_in(tmp_path) == f"candescent-proxy {__version__} (compiled, {interpreter})\n"


def test_reason_comes_from_the_installation(tmp_path: Path) -> None:
    """It is in the metadata of the build."""
    shutil.copytree(ROOT / "proxy", tmp_path / "proxy", ignore=shutil.ignore_patterns("*.so"))
    about = tmp_path / "candescent_proxy-1.dist-info"
    (about / "extra_metadata").mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.4\nName: candescent-proxy\nVersion: 1\n")
    (about / "extra_metadata/not-compiled.txt").write_text("no compiler\n", encoding="utf-8")
    assert "(plain Python: no compiler, " in line_in(tmp_path)
