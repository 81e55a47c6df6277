"""Runs a program on a pseudo-terminal and types into it."""

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

from tests.support.program import ROOT, environment
from tests.support.running import DEADLINE, until

_CONTROLS = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\([A-Z])")


@dataclass
class RunningTerminal:
    """A program on a pseudo-terminal. ``shown`` is its output so far."""

    process: asyncio.subprocess.Process
    keyboard: int
    shown: str = ""
    read: int = 0

    @property
    def text(self) -> str:
        """The output without control sequences."""
        return _CONTROLS.sub("", self.shown).replace("\r", "")

    async def sees(self, text: str) -> None:
        """Wait for this text after the text that was waited for before."""
        await until(
            lambda: text in self.text[self.read :] or self.process.returncode is not None, 30
        )
        at = self.text.find(text, self.read)
        assert at >= 0, f"{text!r} was not shown, but:\n{self.text[self.read :]}"
        self.read = at + len(text)

    def types(self, text: str) -> None:
        """Type a text."""
        os.write(self.keyboard, text.encode())

    async def answers(self, question: str, response: str) -> None:
        """Wait for a question and type the answer."""
        await self.sees(question)
        self.types(response + "\n")

    def close_window(self) -> None:
        """Close the terminal, as its window does; the program gets SIGHUP."""
        asyncio.get_running_loop().remove_reader(self.keyboard)
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), self.keyboard)

    async def ends(self) -> int:
        """Wait for the end and return the exit code."""
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def terminal(
    *arguments: str | Path, cwd: Path, **variables: str
) -> AsyncIterator[RunningTerminal]:
    """Start ``candescent-proxy`` on its own terminal; kill it at the end if it still runs."""
    command = (sys.executable, "-m", "proxy.cli", *map(str, arguments))
    async with on_terminal(*command, cwd=cwd, **variables) as screen:
        yield screen


@asynccontextmanager
async def on_terminal(*command: str, cwd: Path, **variables: str) -> AsyncIterator[RunningTerminal]:
    """Start a command on its own terminal; kill it at the end if it still runs."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (40, 140))
    # Overrides the COLUMNS and LINES of pytest's own environment.
    environ = environment(TERM="xterm", COLUMNS="140", LINES="40", **variables)
    path = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    process = await asyncio.create_subprocess_exec(
        # Makes it the controlling terminal, because a password is read from /dev/tty.
        *("setsid", "--ctty", "--wait"),
        *command,
        cwd=cwd,
        env=environ | {"PYTHONPATH": path},
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
