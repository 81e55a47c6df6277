"""Commands run within this process, which is quicker than one of their own."""

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.cli import main as cli
from tests.support.program import run_program


@dataclass
class Inside:
    """Runs short commands within this process, which is quicker; says what they said."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    async def run(self, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error."""

        def main() -> object:
            with pytest.raises(SystemExit) as caught:
                cli.main([str(argument) for argument in arguments])
            return caught.value.code

        for name, text in variables.items():
            self.monkeypatch.setenv(name, text)
        self.capsys.readouterr()  # what a proxy in this process has logged
        code = await asyncio.to_thread(main)
        assert isinstance(code, int)
        out, err = self.capsys.readouterr()
        return code, out.rstrip("\n"), err.rstrip("\n")

    def types(self, text: str) -> None:
        """Let the commands to come read this from standard input, which is no terminal."""
        self.monkeypatch.setattr("sys.stdin", io.StringIO(text))

    async def both(self, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
        """Return what ``run`` ends with, and see that ``check-config`` says exactly the same."""
        run = await run_program("run", *arguments, **variables)
        assert await self.run("check-config", *arguments, **variables) == run
        return run
