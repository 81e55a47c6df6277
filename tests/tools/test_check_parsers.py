"""A build without a compiled HTTP parser fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_parsers import COMPILED, missing

SCRIPT = Path(__file__).parents[2] / "tools" / "check_parsers.py"


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run the check as make and the image's build do."""
    return subprocess.run(
        [sys.executable, SCRIPT],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_this_environment_has_them() -> None:
    """What the tests run on is what is delivered."""
    done = run()
    assert (done.returncode, done.stdout) == (0, "")


def test_parser_that_is_switched_off() -> None:
    """Aiohttp works without its extensions, so their absence must be checked."""
    done = run(AIOHTTP_NO_EXTENSIONS="1")
    assert done.returncode == 1
    assert "aiohttp.http_parser.HttpRequestParser: is the one in Python" in done.stdout


@pytest.mark.parametrize("name", COMPILED)
def test_parser_that_is_missing(tmp_path: Path, name: str) -> None:
    """An extension that was not built, and Python source in its place, are both found out."""
    package = tmp_path / name.partition(".")[0]
    (package / "parser").mkdir(parents=True)
    for file in ("__init__.py", "parser/__init__.py", "http_parser.py"):
        (package / file).write_text(
            "HttpRequestParser = HttpResponseParser = 1\n"
            "HttpRequestParserPy = HttpResponseParserPy = 2\n"
        )
    assert f"{name}: cannot be loaded" in run(PYTHONPATH=str(tmp_path)).stdout
    (tmp_path / (name.replace(".", "/") + ".py")).write_text("")
    assert f"{name}: is not compiled" in run(PYTHONPATH=str(tmp_path)).stdout


def test_nothing_is_missing_here() -> None:
    """The same, asked without a process."""
    assert list(missing()) == []
