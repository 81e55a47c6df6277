"""Tasks: named, held until they end, ended together."""

import asyncio
import gc

import pytest

from proxy.tasks import Tasks


async def value(given: int) -> int:
    """Return what was given, a turn of the loop later."""
    await asyncio.sleep(0)
    return given


async def wait(started: asyncio.Event | None = None) -> None:
    """Wait for ever."""
    if started is not None:
        started.set()
    await asyncio.Event().wait()


async def test_task_has_a_name_and_a_result() -> None:
    """A task says whose it is and what it does, and gives what its work returns."""
    task = Tasks("owner").spawn("errand", value(7))
    assert task.get_name() == "owner:errand"
    assert await task == 7


async def test_kept_task_is_not_collected_half_way() -> None:
    """A task that waits for something only it knows is not taken for rubbish."""
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
    """After ``cancel`` every task has ended, its clean-up included."""
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


async def test_cancel_is_not_stopped_by_a_failure() -> None:
    """A task that fails, or fails while it is cancelled, keeps no other from ending."""
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


async def test_ended_task_is_let_go() -> None:
    """What has ended is not held any longer, and there is nothing to cancel."""
    tasks = Tasks("owner")
    await tasks.spawn("short", value(1))
    await asyncio.sleep(0)
    assert not tasks._running
    await tasks.cancel()


async def test_failure_is_the_waiters() -> None:
    """Whoever waits for a task gets its exception."""

    async def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Tasks("owner").spawn("fail", fail())
