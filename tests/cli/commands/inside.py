"""Runs commands within the test's process, which is faster than starting one."""

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.cli import main as cli
from tests.support.program import run_program


@dataclass
class Inside:
    """Runs commands within the test's process and returns their output."""

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
        self.capsys.readouterr()  # removes log lines of a proxy in this process
        code = await asyncio.to_thread(main)
        assert isinstance(code, int)
        out, err = self.capsys.readouterr()
        return code, out.rstrip("\n"), err.rstrip("\n")

    def type_input(self, text: str) -> None:
        """Set standard input, which is not a terminal, for the next commands."""
        self.monkeypatch.setattr("sys.stdin", io.StringIO(text))

    async def both(self, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
        """Return the result of ``run``, and check that ``check-config`` has the same result."""
        run = await run_program("run", *arguments, **variables)
        assert await self.run("check-config", *arguments, **variables) == run
        return run
