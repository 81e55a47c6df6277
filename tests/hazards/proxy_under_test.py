"""A proxy under test, and the conditions that must hold after any input."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import structlog

from proxy.runtime.app import App
from proxy.sandbox import Bank, Sandbox
from proxy.telemetry.logs import set_up
from proxy.telemetry.telemetry_settings import LogSettings
from tests.support.raw_client import ask
from tests.support.running import running, until

MARK = "tell-nobody-4711"
"""A text in client input that must not occur in responses and logs."""

BEARER = f"Bearer {MARK}"


class ProxyUnderTest:
    """A running proxy, its bank, and its log."""

    def __init__(self, app: App, bank: Bank, log: io.StringIO) -> None:
        self.app = app
        self.bank = bank
        self._log = log

    @property
    def log(self) -> str:
        """The log so far, at level debug."""
        return self._log.getvalue()

    async def still_works(self) -> None:
        """Check that a request succeeds and that nothing has leaked."""
        before = -1
        while before != len(self.bank.arrivals):  # requests of callers that left may still arrive
            before = len(self.bank.arrivals)
            await asyncio.sleep(0.1)
        response = await ask(self.app)
        assert response.status == 200
        assert len(self.bank.arrivals) == before + 1
        own = {f"Bearer {token.text}" for token in self.bank.live_tokens()}
        for arrival in self.bank.arrivals:
            assert arrival.all("Authorization") == [*own]
            assert BEARER not in str(arrival.headers)
        await until(lambda: self.app.forwarder.in_flight == 0)
        assert self.app.pool.open_count == self.app.pool.idle_count
        assert "Traceback" not in self.log


@asynccontextmanager
async def proxy_under_test(**overrides: Any) -> AsyncIterator[ProxyUnderTest]:
    """Run a proxy that logs at level debug; call ``still_works`` at the end."""
    log = io.StringIO()
    settings = LogSettings(level="debug", format="json", access="on")
    set_up(settings, log)
    try:
        async with (
            Sandbox() as bank,
            running(bank, log=asdict(settings), **overrides) as app,
        ):
            here = ProxyUnderTest(app, bank.bank, log)
            yield here
            await here.still_works()
    finally:
        structlog.reset_defaults()
