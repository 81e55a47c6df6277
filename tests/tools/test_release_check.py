"""How ``make release-check`` runs commands and reports results. A release runs the checks."""

import sys
from pathlib import Path

import pytest

from tools import release_check
from tools.release_check import CheckError, Log, ReleaseCheck, Result, checks, run, table


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for logs within the repository."""
    monkeypatch.setattr(release_check, "ROOT", tmp_path)
    monkeypatch.setattr(release_check, "WORK", tmp_path)
    return tmp_path


def test_output_is_returned_and_stored(folder: Path) -> None:
    """With its command."""
    log = Log(folder / "a.log")
    assert log.run(sys.executable, "-c", "print('hello')") == "hello\n"
    assert (
        log.path.read_text(encoding="utf-8") == f"$ {sys.executable} -c print('hello') \nhello\n\n"
    )


def test_failed_command_names_its_log(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The row is short."""
    result = run(
        ReleaseCheck("a", lambda log: log.run(sys.executable, "-c", "raise SystemExit('no')"))
    )
    assert (result.name, result.passed) == ("a", False)
    assert result.remark == f"{Path(sys.executable).name} failed: a.log"
    assert "no\n" in (folder / "a.log").read_text(encoding="utf-8")
    assert "FAILED" in capsys.readouterr().out


def test_command_has_a_timeout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging one fails."""
    monkeypatch.setattr(release_check, "TIMEOUT", 0.2)
    with pytest.raises(CheckError, match="took more than"):
        Log(folder / "a.log").run(sys.executable, "-c", "import signal; signal.pause()")


def test_installations_are_isolated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From sources and from the caller's environment."""
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("PROXY_BUILD", "pure")
    monkeypatch.setenv("MAKEFLAGS", " -- ARGS=--only\\ image")
    program = "import os; print(*({'PYTHONPATH', 'PROXY_BUILD', 'MAKEFLAGS'} & {*os.environ}))"
    assert Log(folder / "a.log").run(sys.executable, "-c", program) == "\n"


def test_table_counts_failures() -> None:
    """In its last line."""
    good, bad = Result("a", True, 1.2, "fine"), Result("b", False, 3.4, "not fine")
    assert table([good]).endswith("\nall 1 passed")
    assert table([good, bad]).endswith(
        "  b                FAILED      3 s  not fine\n1 of 2 checks failed"
    )


def test_every_python_installs_wheel_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of tools/pythons."""
    monkeypatch.undo()
    names = {check.name for check in checks(None)[2]}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert {f"{version}-source", f"{version}-wheel"} <= names
