"""What is offered as the next command starts the same program in the caller's shell."""

import shlex
import sys
from pathlib import Path

import pytest

from proxy.cli.typed_name import typed_name


def test_typed_name_is_short_only_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed next command starts the same program in the caller's shell."""
    program = tmp_path / "a folder/candescent-proxy"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert shlex.split(typed_name()) == [str(program)]
    monkeypatch.setenv("PATH", str(program.parent))
    assert typed_name() == "candescent-proxy"
    monkeypatch.setattr("sys.argv", ["proxy/__main__.py"])
    assert shlex.split(typed_name()) == [sys.executable, "-m", "proxy.cli"]
