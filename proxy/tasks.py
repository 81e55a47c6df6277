"""Creates all tasks: each has a name, and an owner that keeps a reference to it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """The tasks of one owner, referenced until they end so that none is garbage-collected."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start ``work`` as a task named ``owner:name``."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}:{name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def spawn_background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start ``work`` without returning its task; it runs until it ends or is cancelled."""
        _ = self.spawn(name, work)

    def stop(self) -> None:
        """Cancel what still runs, without waiting for its end."""
        for task in list(self._running):
            task.cancel()

    async def cancel(self) -> None:
        """Cancel the running tasks and wait until they have ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
