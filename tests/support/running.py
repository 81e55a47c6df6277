"""A real proxy in front of a real sandbox bank, on free ports, for a test that wants both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from proxy.config import loader
from proxy.runtime.app import App
from proxy.sandbox import Sandbox

DEADLINE = 120.0
"""Seconds that a test waits for what has to happen. Generous: only a failure takes so long."""

CLIENT = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}


def make_app(base_url: str, **overrides: Any) -> App:
    """Return a proxy for ``base_url``; ``overrides`` are settings as in the file, nested."""
    flags: dict[str, Any] = {
        "base_url": base_url,
        "institution_id": "00016",
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "grace_period": "2",
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
    """Start a proxy in front of ``bank`` (or of any base URL); wait until it is ready."""
    app = make_app(bank if isinstance(bank, str) else bank.url, **overrides)
    await app.start()
    try:
        if ready:
            await until(lambda: app.readiness().is_ready)
        yield app
    finally:
        await app.stop()


async def until(condition: Callable[[], object], patience: float = DEADLINE) -> None:
    """Wait until ``condition`` holds; fail after ``patience`` seconds."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - a test looks on from outside
            await asyncio.sleep(0.01)


def url(app: App) -> str:
    """Return where callers reach the proxy."""
    return f"http://{app.data_address}"
