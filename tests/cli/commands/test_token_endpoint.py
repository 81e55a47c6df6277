"""Commands that call an unreachable bank."""

from pathlib import Path

from proxy.sandbox import Sandbox
from tests.cli.commands.operator import variables
from tests.support.program import run_program

FAILED, WRONG = 1, 2


async def test_unreachable_bank_is_named(tmp_path: Path, stored: Path) -> None:
    """By both commands."""
    async with Sandbox() as bank:
        environ = variables(bank, stored)
    for name in ("login", "revoke"):
        exit_code, _, complaint = await run_program(name, stdin=b"text", **environ)
        assert exit_code == FAILED
        assert "The token endpoint cannot be reached" in complaint
