"""``completion``, in a real bash."""

from pathlib import Path

import pytest
import shtab

from tests.cli.commands.inside import Inside
from tests.support import needs
from tests.support.terminal import on_terminal


@needs.programs("bash")
async def test_bash_completes(inside: Inside, tmp_path: Path) -> None:
    """Commands, flags, choices and file names."""
    _, script, _ = await inside.run("completion", "bash")
    (tmp_path / "script").write_text(script)
    (tmp_path / "a-configuration.yaml").touch()
    async with on_terminal("bash", "--norc", "-i", cwd=tmp_path, PS1="ready: ") as screen:
        screen.types('source ./script; candescent-proxy() { echo asked for "$@"; }\n')
        await screen.sees("ready: ")
        for typed, completed in (
            ("certi", "certificate"),
            ("doctor --js", "doctor --json"),
            ("token --kind v1 --rev", "token --kind v1 --reveal"),
            ("run --config a-conf", "run --config a-configuration.yaml"),
            ("completion po", "completion powershell"),
        ):
            screen.types(f"candescent-proxy {typed}\t\n")
            await screen.sees(f"\nasked for {completed}")
        screen.types("exit\n")
        assert await screen.ends() == 0


@pytest.mark.parametrize("shell", shtab.SUPPORTED_SHELLS)
async def test_every_shell_has_a_script(inside: Inside, shell: str) -> None:
    """It contains every command."""
    code, script, err = await inside.run("completion", shell)
    assert (code, err) == (0, "")
    for word in ("candescent-proxy", "certificate", "healthcheck", "reveal"):
        assert word in script


async def test_unknown_shell_is_refused(inside: Inside) -> None:
    """The error lists the known ones."""
    code, _, err = await inside.run("completion", "csh")
    assert code == 2
    assert "invalid choice: 'csh'" in err
    assert "bash" in err
