"""Creates all tasks: each has a name, and an owner that keeps a reference to it.

Functions that may block run on threads that the end of the process does not wait for.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class DaemonExecutor(ThreadPoolExecutor):
    """Runs each function on a thread of its own, which neither ``shutdown`` nor the exit awaits.

    A look-up or a read from a hanging network share cannot be cancelled. It is a
    ``ThreadPoolExecutor`` only because event loops accept no other.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start ``fn``."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
                future.set_exception(error)

        threading.Thread(target=work, name="blocking", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: no thread is kept."""


_DAEMON: Executor = DaemonExecutor()


async def in_thread(function: Callable[[], T], seconds: float | None) -> T:
    """Return the result of a function that may block, from a thread.

    Raises ``TimeoutError`` after ``seconds``, if given; the thread then ends when it ends.
    """
    async with asyncio.timeout(seconds):
        return await asyncio.get_running_loop().run_in_executor(_DAEMON, function)


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

    async def wait(self) -> None:
        """Wait until the running tasks have ended, however they end."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancel the running tasks and wait until they have ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
