"""Runs the proxy until SIGTERM or SIGINT."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from proxy import __version__
from proxy.config.model import Config
from proxy.forwarding.record import MAIN_LISTENER
from proxy.runtime import exposed_files, rlimits
from proxy.runtime.app import App
from proxy.runtime.reload import LoadConfig
from proxy.runtime.terminal import hangup_handler
from proxy.server.address import Address
from proxy.tasks import DaemonExecutor, Tasks
from proxy.telemetry import logs
from proxy.telemetry.logs.structured import structlog
from proxy.tokens.credentials import Logins

Result = TypeVar("Result")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory() -> LoopFactory | None:
    """Return uvloop's loop factory if it is installed, else None for asyncio's."""
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` and return its result; for a command, its exit code.

    Its end waits for no thread of the loop: a look-up by a silent resolver takes many seconds.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.get_loop().set_default_executor(DaemonExecutor())
            return runner.run(work)
    finally:
        work.close()  # after Ctrl-C it may not have started


async def serve(load: LoadConfig, file: Path | None) -> int:
    """Run the proxy until SIGTERM or SIGINT; SIGHUP reloads the configuration.

    SIGHUP of a terminal that was closed ends it; SIGUSR1 opens the access log's file anew. Raises
    ``ConfigError`` if it cannot start.
    """
    rlimits.forbid_core_dumps()
    log = structlog.get_logger()
    stop = stop_signal()
    config, logins = load()
    for warning in exposed_files.warnings(config):
        log.warning(warning)
    limit = rlimits.raise_limit(rlimits.files_needed(config))
    if rlimits.fit_to_limit(config, limit) is not config:
        log.warning(
            "limit of open files too low; connections reduced",
            limit=limit,
            needed=rlimits.files_needed(config),
        )

    def reread_to_fit() -> tuple[Config, Logins]:
        config, logins = load()
        return rlimits.fit_to_limit(config, limit), logins

    app = App(rlimits.fit_to_limit(config, limit), logins, reread_to_fit, file)
    await app.start()
    tasks = Tasks("runner")
    if hasattr(signal, "SIGUSR1"):
        on_signal(signal.SIGUSR1, app.reopen_log)
    if hasattr(signal, "SIGHUP"):
        on_signal(
            signal.SIGHUP,
            hangup_handler(
                reload=lambda: tasks.spawn_background("reload", _reload(app)),
                stop=lambda: _set(stop, "terminal closed"),
            ),
        )
    log.info(
        "listening",
        version=__version__,
        listen=str(app.data_address),
        **_other_listeners(app),
        admin=str(app.admin_address),
        **_status_page(config, app.admin_address),
        upstream=config.url.geturl(),
        **_other_upstreams(config),
        institution=config.institution_id,
    )
    tasks.spawn_background("quit", _quit(app, stop))
    log.info("stopping", reason=await stop, grace_period=config.grace_period)
    await app.stop()
    await tasks.cancel()
    log.info("stopped")
    return 0


def _other_listeners(app: App) -> dict[str, dict[str, str]]:
    """Return the additional listeners, if there are any, for the log."""
    further = {name: str(where) for name, where in app.addresses.items() if name != MAIN_LISTENER}
    return {"listeners": further} if further else {}


def _other_upstreams(config: Config) -> dict[str, dict[str, str]]:
    """Return the institutions at their own address, if there are any, for the log."""
    urls = {name: config.origin_of(name).base_url for name in config.institutions}
    further = {name: url for name, url in urls.items() if url != config.url.geturl()}
    return {"upstreams": further} if further else {}


def _status_page(config: Config, admin: Address) -> dict[str, str]:
    """Return the URL of the status page for the log, if a browser on this machine can open it."""
    if config.status_page == "off" or admin.path:
        return {}
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound
    return {"status_page": f"http://{replace(admin, host=anywhere.get(admin.host, admin.host))}/"}


async def _reload(app: App) -> None:
    await app.reload("signal")


async def _quit(app: App, stop: asyncio.Future[str]) -> None:
    await app.quit.wait()
    _set(stop, "asked to")


def _set(stop: asyncio.Future[str], reason: str) -> None:
    if not stop.done():
        stop.set_result(reason)


SAME_SIGNAL = 0.5
"""Seconds. Programs such as ``uv run`` forward the Ctrl-C that the terminal sends here too."""


def stop_signal(
    end_now: Callable[[signal.Signals], None] | None = None,
) -> asyncio.Future[str]:
    """Return a future that the first SIGTERM or SIGINT sets to its name.

    ``end_now`` is called with a signal that comes ``SAME_SIGNAL`` or more after the first; if left
    out, it ends the process at once, with the exit code of the signal (130 or 143). On Windows,
    which has no SIGTERM, the signals are Ctrl-C and Ctrl-Break.
    """
    loop = asyncio.get_running_loop()
    received: asyncio.Future[str] = loop.create_future()
    times: list[float] = []

    def handle(number: signal.Signals) -> None:
        times.append(loop.time())
        _set(received, number.name)
        if times[-1] - times[0] >= SAME_SIGNAL:
            (end_now or _end_now)(number)

    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            number = signal.Signals[name]
            on_signal(number, partial(handle, number))
    return received


def _end_now(number: signal.Signals) -> NoReturn:
    log = structlog.get_logger()
    log.warning("ended by a second signal", signal=number.name)
    logs.end()
    os._exit(128 + number)


def on_signal(number: signal.Signals, act: Callable[[], None]) -> None:
    """Call ``act`` from the running loop on each signal."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, act)
    except NotImplementedError:  # Windows' loops; Python itself wakes them when a signal comes
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(act))
