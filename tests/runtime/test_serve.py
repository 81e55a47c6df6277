"""Running until a signal, on uvloop where it exists."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.errors import ConfigError
from proxy.runtime import serve
from tests.support.running import DEADLINE, until


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work``; restore the signal handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return serve.run(work)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_exit_code_is_the_result_of_the_work() -> None:
    """The result of the coroutine is the exit code."""

    async def work() -> int:
        return 7

    assert run(work()) == 7


def test_configuration_error_is_raised() -> None:
    """The command line reports it."""

    async def work() -> int:
        raise ConfigError(["listen: in use"])

    with pytest.raises(ConfigError):
        run(work())


def test_uvloop_is_used_if_installed() -> None:
    """Otherwise asyncio's own loop."""

    async def work() -> int:
        return int(type(asyncio.get_running_loop()).__module__.startswith("uvloop"))

    assert run(work()) == (serve.loop_factory() is not None)


def test_works_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It falls back to asyncio's loop."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert serve.loop_factory() is None

    async def work() -> int:
        return int(type(asyncio.get_running_loop()).__module__.startswith("asyncio"))

    assert run(work()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_wait(number: signal.Signals) -> None:
    """SIGTERM and SIGINT are named; one forwarded at the same moment is not a second."""
    seen: list[str] = []

    async def work() -> int:
        stop = serve.stop_signal(lambda second: seen.append(f"second {second.name}"))
        assert not stop.done()
        for _ in range(2):
            os.kill(os.getpid(), number)
        async with asyncio.timeout(DEADLINE):
            seen.append(await stop)
        await asyncio.sleep(0.01)
        return 0

    assert run(work()) == 0
    assert seen == [number.name]


def test_second_signal_after_a_while_is_reported() -> None:
    """Each later signal."""
    seen: list[str] = []

    async def work() -> int:
        stop = serve.stop_signal(lambda second: seen.append(second.name))
        os.kill(os.getpid(), signal.SIGTERM)
        await stop
        await asyncio.sleep(serve.SAME_SIGNAL)
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: seen)
        return 0

    assert run(work()) == 0
    assert seen == ["SIGINT"]


def test_end_waits_for_no_thread() -> None:
    """Such as one that a silent resolver blocks."""
    answer = threading.Event()

    async def work() -> int:
        _ = asyncio.get_running_loop().run_in_executor(None, answer.wait)
        return 7

    try:
        assert run(work()) == 7
        assert not answer.is_set()
    finally:
        answer.set()


def test_signal_before_the_wait_is_not_lost() -> None:
    """A signal during the start ends the later wait."""

    async def work() -> int:
        stop = serve.stop_signal()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        return int(await stop == "SIGTERM")

    assert run(work()) == 1
