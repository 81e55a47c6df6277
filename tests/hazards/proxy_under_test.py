"""A proxy that is put to the test, and what must hold of it after whatever has come."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from proxy.config.sections import LogSettings
from proxy.runtime.app import App
from proxy.sandbox import Bank, Sandbox
from proxy.telemetry.logs import set_up
from tests.support.raw_client import ask
from tests.support.running import running, until

MARK = "tell-nobody-4711"
"""Stands in what a caller must not be able to put into an answer or a log."""

BEARER = f"Bearer {MARK}"


class ProxyUnderTest:
    """A running proxy, the bank behind it, and what the proxy has written to its log."""

    def __init__(self, app: App, bank: Bank, log: io.StringIO) -> None:
        self.app = app
        self.bank = bank
        self._log = log

    @property
    def log(self) -> str:
        """Everything logged so far, at the most talkative level."""
        return self._log.getvalue()

    async def still_works(self) -> None:
        """Check what must hold after whatever has come."""
        before = len(self.bank.arrivals)
        answer = await ask(self.app)
        assert answer.status == 200
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
    """Run a proxy that logs all it can; check at the end that nothing is left of the hazard."""
    log = io.StringIO()
    settings = LogSettings(level="debug", format="json", access="on")
    set_up(settings, log)
    try:
        async with (
            Sandbox() as bank,
            running(bank, log=settings.model_dump(mode="json"), **overrides) as app,
        ):
            here = ProxyUnderTest(app, bank.bank, log)
            yield here
            await here.still_works()
    finally:
        structlog.reset_defaults()
