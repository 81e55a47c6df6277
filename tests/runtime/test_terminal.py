"""SIGHUP: it ends a proxy on a terminal that was closed, and reloads every other."""

import signal
import sys
from pathlib import Path

import pytest

from proxy.sandbox import Sandbox
from tests.support.program import ANYWHERE, CREDENTIALS
from tests.support.terminal import on_terminal, terminal

_NOHUP = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")
"""What ``nohup`` does, but for standard output."""


async def test_closed_window_ends_the_proxy(tmp_path: Path) -> None:
    """After a SIGHUP by ``kill``, which reloads."""
    async with Sandbox() as bank:
        reported = {**CREDENTIALS, "CANDESCENT_BASE_URL": bank.url}
        async with terminal("run", *ANYWHERE, cwd=tmp_path, **reported) as screen:
            await screen.sees("token refreshed")
            screen.process.send_signal(signal.SIGHUP)
            await screen.sees("configuration reloaded")
            screen.close_window()
            assert await screen.ends() == 0


@pytest.mark.parametrize(("before", "expected"), [((), "stop"), (_NOHUP, "reload")])
async def test_nohup_keeps_it_running(
    before: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    """Its SIGHUP is ignored from the start."""
    program = (
        "import pathlib, signal, sys; from proxy.runtime.terminal import hangup_handler as new\n"
        "said = lambda text: lambda: pathlib.Path('said').write_text(text)\n"
        "handle = new(said('reload'), said('stop'))\n"
        "signal.signal(signal.SIGHUP, lambda *_: handle())\n"
        "print('started', flush=True)\n"
        "signal.pause()"
    )
    command = (*before, sys.executable, "-c", program)
    async with on_terminal(*command, cwd=tmp_path) as screen:
        await screen.sees("started")
        screen.close_window()
        assert await screen.ends() == 0
    assert (tmp_path / "said").read_text() == expected
