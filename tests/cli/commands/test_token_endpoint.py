"""The commands that ask the bank, when it is not there."""

from pathlib import Path

from proxy.sandbox import Sandbox
from tests.cli.commands.operator import variables
from tests.support.program import run_program

FAILED, WRONG = 1, 2


async def test_bank_that_is_down(tmp_path: Path, stored: Path) -> None:
    """Both commands say what is not reached."""
    async with Sandbox() as bank:
        environ = variables(bank, stored)
    for name in ("login", "revoke"):
        exit_code, _, complaint = await run_program(name, stdin=b"text", **environ)
        assert exit_code == FAILED
        assert "The token endpoint cannot be reached" in complaint
