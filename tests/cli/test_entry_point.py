"""Ctrl-C while the program starts."""

from pathlib import Path

import pytest

from tests.support.program import CREDENTIALS, run_program

_INTERRUPTS = """\
import os, signal, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(
    "module",
    ["proxy.cli.main", "argparse", "pydantic", "aiohttp", "proxy.cli.commands.run", "uvloop"],
)
async def test_interrupt_during_the_imports_is_silent(module: str, tmp_path: Path) -> None:
    """Exit code 130, and no traceback."""
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTS.format(module=module))
    reported = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}
    assert await run_program("run", PYTHONPATH=str(tmp_path), **reported) == (130, "", "")
