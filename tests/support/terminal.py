"""The program on a real terminal, with somebody who reads and types."""

import asyncio
import os
import pty
import re
import sys
import termios
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.program import environment
from tests.support.running import DEADLINE, until

_CONTROLS = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\([A-Z])")


@dataclass
class RunningTerminal:
    """A pseudo-terminal with a program on it. ``shown`` is all that came on the screen."""

    process: asyncio.subprocess.Process
    keyboard: int
    shown: str = ""
    read: int = 0

    @property
    def text(self) -> str:
        """What was shown, without colours and the like."""
        return _CONTROLS.sub("", self.shown).replace("\r", "")

    async def sees(self, text: str) -> None:
        """Wait until this text is shown, behind what was waited for before."""
        await until(
            lambda: text in self.text[self.read :] or self.process.returncode is not None, 30
        )
        at = self.text.find(text, self.read)
        assert at >= 0, f"{text!r} was not shown, but:\n{self.text[self.read :]}"
        self.read = at + len(text)

    def types(self, text: str) -> None:
        """Type it."""
        os.write(self.keyboard, text.encode())

    async def answers(self, question: str, answer: str) -> None:
        """Wait for a question, and answer it."""
        await self.sees(question)
        self.types(answer + "\n")

    async def ends(self) -> int:
        """Wait for the end; return the exit code."""
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def terminal(
    *arguments: str | Path, cwd: Path, **variables: str
) -> AsyncIterator[RunningTerminal]:
    """Start the program on a terminal of its own; kill it if it still runs in the end."""
    command = (sys.executable, "-m", "proxy", *map(str, arguments))
    async with on_terminal(*command, cwd=cwd, **variables) as screen:
        yield screen


@asynccontextmanager
async def on_terminal(*command: str, cwd: Path, **variables: str) -> AsyncIterator[RunningTerminal]:
    """Start any command on a terminal of its own; kill it if it still runs in the end."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (40, 140))
    # Where pytest itself has been told how wide it is, that is not how wide this is.
    environ = environment(TERM="xterm", COLUMNS="140", LINES="40", **variables)
    process = await asyncio.create_subprocess_exec(
        # So that the terminal is its own: a password is asked for on /dev/tty.
        *("setsid", "--ctty", "--wait"),
        *command,
        cwd=cwd,
        env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = RunningTerminal(process, ours)
    loop = asyncio.get_running_loop()
    decoder = getincrementaldecoder("utf-8")("replace")

    def take() -> None:
        try:
            block = os.read(ours, 65_536)
        except OSError:  # the other end is closed
            block = b""
        if not block:
            loop.remove_reader(ours)
        shown.shown += decoder.decode(block)

    loop.add_reader(ours, take)
    try:
        yield shown
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)
