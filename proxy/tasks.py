"""The one place where tasks are created: each has a name and an owner that holds it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Background work of one owner, held until it ends so that none is collected half-way."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start ``work`` under ``owner:name`` and hold it until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}:{name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def spawn_background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start ``work`` that nobody waits for; it runs until it ends or is cancelled."""
        _ = self.spawn(name, work)

    def stop(self) -> None:
        """Cancel what still runs, without waiting for its end."""
        for task in list(self._running):
            task.cancel()

    async def cancel(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
