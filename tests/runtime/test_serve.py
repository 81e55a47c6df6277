"""Running until a signal: on the faster loop where there is one, and to a clean end."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.errors import ConfigError
from proxy.runtime import serve
from tests.support.running import DEADLINE


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run work, and leave the signals of this process as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return serve.run(work)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_work_gives_the_exit_code() -> None:
    """What the work returns is what the program exits with."""

    async def work() -> int:
        return 7

    assert run(work()) == 7


def test_mistake_passes_through() -> None:
    """An error in the configuration reaches the command line, which knows what to say."""

    async def work() -> int:
        raise ConfigError(["listen: in use"])

    with pytest.raises(ConfigError):
        run(work())


def test_uvloop_is_taken_where_it_is() -> None:
    """The loop is uvloop's on the machines that have it, asyncio's own elsewhere."""

    async def work() -> int:
        return int(type(asyncio.get_running_loop()).__module__.startswith("uvloop"))

    assert run(work()) == (serve.loop_factory() is not None)


def test_without_uvloop_it_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without uvloop is slower, not broken."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert serve.loop_factory() is None

    async def work() -> int:
        return int(type(asyncio.get_running_loop()).__module__.startswith("asyncio"))

    assert run(work()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_wait(number: signal.Signals) -> None:
    """Either signal is told by its name, and a second one changes nothing."""
    seen: list[str] = []

    async def work() -> int:
        stop = serve.stop_signal()
        assert not stop.done()
        for _ in range(2):
            os.kill(os.getpid(), number)
        async with asyncio.timeout(DEADLINE):
            seen.append(await stop)
        await asyncio.sleep(0.01)
        return 0

    assert run(work()) == 0
    assert seen == [number.name]


def test_signal_before_anybody_waits_is_not_lost() -> None:
    """A signal during the start is found when the start is over."""

    async def work() -> int:
        stop = serve.stop_signal()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        return int(await stop == "SIGTERM")

    assert run(work()) == 1
