"""A proxy in front of a sandbox bank, on free ports, within the test's process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from proxy.config import loader
from proxy.runtime.app import App
from proxy.sandbox import Sandbox

DEADLINE = 120.0
"""Seconds after which a test that waits fails."""

CLIENT = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}


def make_app(base_url: str, **overrides: Any) -> App:
    """Return a proxy for ``base_url``; ``overrides`` are nested settings as in a file."""
    flags: dict[str, Any] = {
        "base_url": base_url,
        "institution_id": "00016",
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "grace_period": "2",
        "allowed_hosts": "*",
        "log": {"access": "off"},
        **CLIENT,
        **overrides,
    }
    config = loader.load(None, {}, flags)
    return App(config, loader.logins(config))


@asynccontextmanager
async def running(
    bank: Sandbox | str, *, ready: bool = True, **overrides: Any
) -> AsyncIterator[App]:
    """Start a proxy in front of ``bank`` (or a base URL) and wait until it is ready."""
    app = make_app(bank if isinstance(bank, str) else bank.url, **overrides)
    await app.start()
    try:
        if ready:
            await until(lambda: app.readiness().is_ready)
        yield app
    finally:
        await app.stop()


async def until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Wait until ``condition`` holds; raise ``TimeoutError`` after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - works with any condition
            await asyncio.sleep(0.01)


def url(app: App) -> str:
    """Return the URL of the proxy's data port."""
    return f"http://{app.data_address}"
