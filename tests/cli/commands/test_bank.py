"""The commands that ask the bank, when it is not there."""

from pathlib import Path

from proxy.sandbox import Sandbox
from tests.cli.commands.operator import variables
from tests.support.program import ended

FAILED, WRONG = 1, 2


async def test_bank_that_is_down(tmp_path: Path, kept: Path) -> None:
    """Both commands say what is not reached."""
    async with Sandbox() as bank:
        environ = variables(bank, kept)
    for name in ("login", "revoke"):
        exit_code, _, complaint = await ended(name, stdin=b"text", **environ)
        assert exit_code == FAILED
        assert "The bank cannot be reached" in complaint
