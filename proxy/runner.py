"""Runs something that starts and stops until a signal says that it is enough."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from proxy import __version__
from proxy.app import App
from proxy.config import Config
from proxy.credentials import Logins

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory() -> LoopFactory | None:
    """Return uvloop's where there is one, else None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work`` to its end and return its exit code."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)


async def serve(config: Config, logins: Logins) -> int:
    """Run the proxy until SIGTERM or SIGINT. Raises ``ConfigError`` if it cannot start."""
    log = structlog.get_logger()
    stop = signalled()
    app = App(config, logins)
    await app.start()
    log.info(
        "listening",
        version=__version__,
        listen=str(app.data_address),
        admin=str(app.admin_address),
        upstream=config.url.geturl(),
        institution=config.institution_id,
    )
    log.info("stopping", signal=await stop, grace_period=config.grace_period)
    await app.stop()
    log.info("stopped")
    return 0


def signalled() -> asyncio.Future[str]:
    """Return what SIGTERM or SIGINT will set to its name; from now on they do nothing else."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[str] = loop.create_future()

    def note(number: int) -> None:
        if not received.done():
            received.set_result(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(number, lambda got, _frame: loop.call_soon_threadsafe(note, got))
        else:
            loop.add_signal_handler(number, note, number)
    return received
