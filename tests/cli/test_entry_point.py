"""Signals while the program starts."""

import asyncio
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.program import ANYWHERE, CREDENTIALS, run_program

_INTERRUPTS = """\
import os, signal, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{signal})

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(
    "module",
    ["proxy.cli.main", "argparse", "pydantic", "aiohttp", "proxy.cli.commands.run", "uvloop"],
)
async def test_interrupt_during_the_imports_is_silent(module: str, tmp_path: Path) -> None:
    """Exit code 130, and no traceback."""
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTS.format(module=module, signal="SIGINT"))
    reported = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}
    assert await run_program("run", PYTHONPATH=str(tmp_path), **reported) == (130, "", "")


@pytest.mark.parametrize("module", ["proxy.cli.main", "pydantic", "proxy.runtime.rlimits"])
async def test_first_process_of_a_container_ends_at_sigterm(module: str, tmp_path: Path) -> None:
    """The kernel gives it no signal without a handler; exit code 143."""
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTS.format(module=module, signal="SIGTERM"))
    alone = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child")
    if await run_command(*alone, "true"):
        needs.skip("no process namespace allowed", "sudo make test")
    reported = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}
    ended = await run_program("run", *ANYWHERE, before=alone, PYTHONPATH=str(tmp_path), **reported)
    assert ended == (143, "", "")


@pytest.mark.parametrize("module", ["proxy.cli.main", "proxy.config.loader"])
async def test_log_rotation_during_the_imports_does_not_end_it(module: str, tmp_path: Path) -> None:
    """``run`` goes on, here to an error in its configuration."""
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTS.format(module=module, signal="SIGUSR1"))
    code, _, errors = await run_program("run", PYTHONPATH=str(tmp_path))
    assert (code, "institution_id: is required" in errors) == (2, True)


async def run_command(*command: str) -> int:
    """Run a command; return its exit code."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()
