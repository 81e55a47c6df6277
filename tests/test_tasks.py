"""Tasks: named, held until they end, ended together."""

import asyncio
import gc
import threading

import pytest

from proxy.tasks import DaemonExecutor, Tasks, in_thread


async def value(given: int) -> int:
    """Return the argument after a turn of the loop."""
    await asyncio.sleep(0)
    return given


async def wait(started: asyncio.Event | None = None) -> None:
    """Wait for ever."""
    if started is not None:
        started.set()
    await asyncio.Event().wait()


async def test_task_has_a_name_and_a_result() -> None:
    """The result is that of its coroutine."""
    task = Tasks("owner").spawn("errand", value(7))
    assert task.get_name() == "owner:errand"
    assert await task == 7


async def test_task_is_not_garbage_collected() -> None:
    """Although only it refers to what it waits for."""
    tasks = Tasks("owner")
    started, ended = asyncio.Event(), []

    async def work() -> None:
        try:
            await wait(started)
        finally:
            ended.append(True)

    tasks.spawn_background("work", work())
    await started.wait()
    gc.collect()
    assert not ended
    await tasks.cancel()
    assert ended == [True]


async def test_cancel_waits_for_the_end() -> None:
    """Clean-up included."""
    tasks = Tasks("owner")
    started, cleaned = asyncio.Event(), []

    async def work() -> None:
        try:
            await wait(started)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    task = tasks.spawn("work", work())
    await started.wait()
    await tasks.cancel()
    assert cleaned == [True]
    assert task.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancel_continues_after_a_failure() -> None:
    """A failing task does not keep others from ending."""
    tasks = Tasks("owner")

    async def stubborn() -> None:
        try:
            await wait()
        finally:
            raise ValueError

    failed = tasks.spawn("failed", stubborn())
    other = tasks.spawn("other", wait())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert isinstance(failed.exception(), ValueError)
    assert other.cancelled()


async def test_ended_task_is_released() -> None:
    """There is nothing left to cancel."""
    tasks = Tasks("owner")
    await tasks.spawn("short", value(1))
    await asyncio.sleep(0)
    assert not tasks._running
    await tasks.cancel()


async def test_failure_is_raised_to_the_waiter() -> None:
    """Its exception."""

    async def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Tasks("owner").spawn("fail", fail())


async def test_blocked_function_has_a_deadline() -> None:
    """Others run meanwhile, each on a thread of its own."""
    answer = threading.Event()
    with pytest.raises(TimeoutError):
        await in_thread(answer.wait, 0.01)
    assert await in_thread(threading.current_thread, 60.0) is not threading.main_thread()
    answer.set()


async def test_error_in_a_thread_is_raised() -> None:
    """As if the function had been called here."""
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0, 60.0)


def test_executor_can_be_used_after_its_shutdown() -> None:
    """It keeps no thread that could be ended."""
    executor = DaemonExecutor()
    executor.shutdown()
    assert executor.submit(lambda: 7).result() == 7
