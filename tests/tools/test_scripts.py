"""The shell scripts that make calls, run in a world that a test makes up for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run(name: str, *arguments: object, **environment: object) -> subprocess.CompletedProcess[str]:
    """Run a script of tools/ with this environment added."""
    return subprocess.run(
        [TOOLS / name, *map(str, arguments)],
        env=os.environ | {key: str(value) for key, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pythons_takes_what_runs_and_is_new_enough(tmp_path: Path) -> None:
    """PATH comes before pyenv, newest first; dead shims, old ones and doubles are left out."""
    path, pyenv = tmp_path / "bin", tmp_path / "pyenv"
    script(path / "python3.14", "echo 'python3.14: command not found' >&2; exit 127")
    script(path / "python3.13", "echo 3.13 /path/3.13")
    script(path / "python3.12", "exit 1  # what the question's assert makes of an old one")
    script(path / "python3.11", "echo 3.11 /path/3.11")
    script(path / "python3", "echo 3.11 /path/3")
    script(pyenv / "versions/3.14.2/bin/python3", "echo 3.14 /pyenv/3.14")
    script(pyenv / "versions/3.13.0/bin/python3", "echo 3.13 /pyenv/3.13")
    found = run("pythons", PATH=f"{path}:/nonexistent", PYENV_ROOT=pyenv).stdout
    assert found.splitlines() == ["3.13 /path/3.13", "3.11 /path/3.11", "3.14 /pyenv/3.14"]


def test_pythons_asks_a_real_python(tmp_path: Path) -> None:
    """The question is one that the Python running this test answers with its own name."""
    script(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    found = run("pythons", PATH=tmp_path, PYENV_ROOT=tmp_path).stdout
    assert found == f"{sys.version_info.major}.{sys.version_info.minor} {sys.executable}\n"


def test_pythons_is_silent_where_there_is_none(tmp_path: Path) -> None:
    """No Python is an empty list; what to say about it is the Makefile's."""
    found = run("pythons", PATH=tmp_path, PYENV_ROOT=tmp_path)
    assert (found.stdout, found.stderr) == ("", "")


@pytest.mark.parametrize(
    ("says", "code", "told"),
    [
        ("No known vulnerabilities found", 0, "No known"),
        ("Found 1 known vulnerability in 1 package", 1, "Found 1"),
        ("Found 2 known vulnerabilities in 1 package", 1, "Found 2"),
        ("No known vulnerabilities found\nName  Skip Reason\nyarl  not found", 0, "Not audited"),
        ("error: could not connect", 0, "Not audited"),
    ],
)
def test_audit_fails_for_a_weakness_only(tmp_path: Path, says: str, code: int, told: str) -> None:
    """A weakness fails; a machine without a network does not, and does not claim an audit."""
    uv = script(tmp_path / "uv", f"echo '{says}'; exit {int('No known' not in says)}")
    result = run("audit", uv, "run.txt")
    assert result.returncode == code
    assert told in result.stdout + result.stderr
