"""Shell scripts that make calls, with fake programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def script(path: Path, text: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run(name: str, *arguments: object, **environment: object) -> subprocess.CompletedProcess[str]:
    """Run a script of tools/ with these environment variables."""
    return subprocess.run(
        [TOOLS / name, *map(str, arguments)],
        env=os.environ | {key: str(value) for key, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pythons_lists_supported_versions(tmp_path: Path) -> None:
    """PATH before pyenv, newest first, without duplicates."""
    path, pyenv = tmp_path / "bin", tmp_path / "pyenv"
    script(path / "python3.14", "echo 'python3.14: command not found' >&2; exit 127")
    script(path / "python3.13", "echo 3.13 /path/3.13")
    script(path / "python3.12", "exit 1  # what the question's assert makes of an old one")
    script(path / "python3.11", "echo 3.11 /path/3.11")
    script(path / "python3", "echo 3.11 /path/3")
    script(pyenv / "versions/3.14.2/bin/python3", "echo 3.14 /pyenv/3.14")
    script(pyenv / "versions/3.13.0/bin/python3", "echo 3.13 /pyenv/3.13")
    debian = tmp_path / "candescent-proxy/python-3.12/usr/bin/python3.12"
    script(debian, "echo 3.12 /debian/3.12")
    found = run("pythons", PATH=path, PYENV_ROOT=pyenv, XDG_CACHE_HOME=tmp_path).stdout
    assert found.split() == [
        *("3.13", "/path/3.13", "3.11", "/path/3.11"),
        *("3.14", "/pyenv/3.14", "3.12", "/debian/3.12"),
    ]


def test_pythons_with_a_real_python(tmp_path: Path) -> None:
    """The one that runs this test."""
    script(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    found = run("pythons", PATH=tmp_path, PYENV_ROOT=tmp_path, XDG_CACHE_HOME=tmp_path).stdout
    assert found == f"{sys.version_info.major}.{sys.version_info.minor} {sys.executable}\n"


def test_pythons_may_be_empty(tmp_path: Path) -> None:
    """Its caller reports that."""
    found = run("pythons", PATH=tmp_path, PYENV_ROOT=tmp_path, XDG_CACHE_HOME=tmp_path)
    assert (found.stdout, found.stderr) == ("", "")


def test_python_from_debian_is_unpacked_once(tmp_path: Path) -> None:
    """A second run only prints its path."""
    tree = tmp_path / "packages"
    script(tree / "usr/bin/python3.14", "exit 0")
    script(tree / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "")
    script(tree / "usr/include/python3.14/Python.h", "")
    script(tree / "usr/include/x86_64-linux-gnu/python3.14/pyconfig.h", "")
    settings = tree / "usr/lib/python3.14/_sysconfigdata_.py"
    script(settings, "'/usr/share/python-wheels'")
    path = tmp_path / "bin"
    # Its last argument is the archive's path.
    made = f'for last; do :; done; tar -cf "$last" -C {tree} .; echo "$@" >>{tmp_path}/calls'
    script(path / "mmdebstrap", made)
    script(path / "patchelf", f'echo "$@" >>{tmp_path}/calls')
    world = {"PATH": f"{path}:{os.environ['PATH']}", "XDG_CACHE_HOME": tmp_path}
    root = tmp_path / "candescent-proxy/python-3.14"
    python = root / "usr/bin/python3.14"
    for _ in range(2):
        done = run("python-from-debian", 3.14, **world)
        assert (done.stdout, done.stderr) == (f"{python}\n", "")
    unpacked, patched = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert "--include=python3.14,python3.14-dev,python3.14-venv" in unpacked
    assert patched.split()[1] == str(root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    assert patched.split()[-1] == str(python)
    assert (root / "usr/include/python3.14/x86_64-linux-gnu/python3.14/pyconfig.h").exists()
    settings = root / "usr/lib/python3.14/_sysconfigdata_.py"
    assert f"'{root}/usr/share/python-wheels'" in settings.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("mmdebstrap", "reported"),
    [
        (None, "mmdebstrap is missing (apt-get install mmdebstrap).\n"),
        (
            "echo 'I: begun\nE: Unable to locate' >&2; exit 25",
            "E: Unable to locate\n",
        ),
    ],
)
def test_python_from_debian_reports_why_it_fails(
    tmp_path: Path, mmdebstrap: str | None, reported: str
) -> None:
    """Without tool, package or network."""
    script(tmp_path / "patchelf", "exit 0")
    if mmdebstrap:
        script(tmp_path / "mmdebstrap", mmdebstrap)
    for name in ("mktemp", "rm", "grep"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = run("python-from-debian", 3.14, PATH=tmp_path, XDG_CACHE_HOME=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Python 3.14 is not on this machine, and not to be had")
    assert done.stderr.endswith(reported)


@pytest.mark.parametrize(
    ("message", "code", "reported"),
    [
        ("No known vulnerabilities found", 0, "No known"),
        ("Found 1 known vulnerability in 1 package", 1, "Found 1"),
        ("Found 2 known vulnerabilities in 1 package", 1, "Found 2"),
        ("No known vulnerabilities found\nName  Skip Reason\nyarl  not found", 0, "Not audited"),
        ("error: could not connect", 0, "Not audited"),
    ],
)
def test_audit_fails_for_vulnerabilities_only(
    tmp_path: Path, message: str, code: int, reported: str
) -> None:
    """Without a network it says that it did not run."""
    pip_audit = script(
        tmp_path / "pip-audit", f"echo '{message}'; exit {int('No known' not in message)}"
    )
    result = run("audit", pip_audit, "run.txt")
    assert result.returncode == code
    assert reported in result.stdout + result.stderr
