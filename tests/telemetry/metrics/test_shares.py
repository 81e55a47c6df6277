"""Shares of a request's time: proxy, bank, caller, waits; with a real proxy."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from tests.support.running import running, until, url
from tests.telemetry.metrics.reading import value

PAUSE = 0.05
"""Seconds that somebody takes; nothing here is held against an upper bound."""


def seconds(app: App, name: str) -> float:
    """Return the sum of a histogram of V2 requests."""
    return value(app.metrics, f"{name}_seconds_sum", route="v2") or 0.0


def count(app: App, name: str) -> float:
    """Return the number of V2 requests in a histogram."""
    return value(app.metrics, f"{name}_seconds_count", route="v2") or 0.0


def shares(app: App) -> float:
    """Return the sum of the times of proxy, bank and waits."""
    parts = ("request_proxy_duration", "upstream_duration", "token_wait", "connection_wait")
    return sum(seconds(app, part) for part in parts)


async def send(app: App, method: str = "GET", path: str = "/echo", data: object = None) -> int:
    """Send a request on its own connection and wait until it is counted."""
    before = count(app, "request_duration")
    async with aiohttp.request(method, url(app) + path, data=data) as response:
        await response.read()
    await until(lambda: count(app, "request_duration") > before)
    return response.status


class PausingCaller:
    """A caller that pauses within a body; ``seconds`` is the duration of its pause."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.seconds = 0.0

    async def pause(self) -> None:
        """Wait until the proxy has started the request, and longer."""
        await until(lambda: value(self._app.metrics, "requests_in_flight"))
        began = time.monotonic()
        await asyncio.sleep(PAUSE)
        self.seconds = time.monotonic() - began

    async def body(self) -> AsyncIterator[bytes]:
        """Yield a body with a late end."""
        yield b"a" * 1000
        await self.pause()
        yield b"b" * 1000

    def is_left_out(self) -> bool:
        """Whether the pause is in no share."""
        return shares(self._app) <= seconds(self._app, "request_duration") - self.seconds + 1e-6


async def test_slow_bank() -> None:
    """Its time is the bank's."""
    async with Sandbox() as bank, running(bank) as app:
        bank.bank.faults.append(Fault("resource", delay=PAUSE))
        assert await send(app) == 200
        assert seconds(app, "upstream_duration") >= PAUSE
        assert seconds(app, "request_proxy_duration") > 0
        assert shares(app) == pytest.approx(seconds(app, "request_duration"))


async def test_wait_for_a_token() -> None:
    """In no share; observed for the waiting request."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", delay=PAUSE))
        async with running(bank, ready=False) as app:
            assert await send(app) == 200
            assert await send(app) == 200
            assert count(app, "token_wait") == 1
            assert seconds(app, "token_wait") > 0
            assert shares(app) == pytest.approx(seconds(app, "request_duration"))


async def test_wait_for_a_connection() -> None:
    """A new one, or a released one."""
    async with Sandbox() as bank, running(bank, upstream={"max_connections": 1}) as app:
        bank.bank.faults.append(Fault("resource", delay=PAUSE))
        assert set(await asyncio.gather(send(app), send(app))) == {200}
        await until(lambda: count(app, "request_duration") == 2)
        assert count(app, "connection_wait") == 2
        assert seconds(app, "connection_wait") > 0
        assert shares(app) == pytest.approx(seconds(app, "request_duration"))


async def test_slow_upload_is_the_callers_time() -> None:
    """The bank's time starts at the end of the request."""
    async with Sandbox() as bank, running(bank) as app:
        assert await send(app) == 200  # from now on there is a connection
        caller = PausingCaller(app)
        assert await send(app, "POST", data=caller.body()) == 200
        assert count(app, "upstream_duration") == 2
        assert caller.is_left_out()


async def test_slow_download_is_in_no_share() -> None:
    """The proxy's time ends when the response starts."""
    async with Sandbox() as bank, running(bank) as app:
        bank.bank.faults.append(Fault("resource", dribble=PAUSE / 250))
        assert await send(app) == 200
        assert count(app, "request_proxy_duration") == 1
        assert shares(app) <= seconds(app, "request_duration") - PAUSE


async def test_slow_error_body_is_in_no_share() -> None:
    """It is read at the bank's pace before it is forwarded."""
    async with Sandbox() as bank, running(bank) as app:
        bank.bank.faults.append(Fault("resource", code="CMN_90006", dribble=PAUSE / 25))
        assert await send(app) == 400
        assert count(app, "request_proxy_duration") == 1
        assert shares(app) <= seconds(app, "request_duration") - PAUSE


async def test_buffered_body_is_in_no_share() -> None:
    """The request is sent when it is complete."""
    replay = {"paths": [{"path": "/echo", "methods": ["POST"]}]}
    async with Sandbox() as bank, running(bank, replay=replay) as app:
        _, port = str(app.data_address).rsplit(":", 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        caller = PausingCaller(app)
        await caller.pause()
        writer.write(b"cd")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await until(lambda: count(app, "request_duration") == 1)
        writer.close()
        assert caller.is_left_out()


async def test_replayed_request_has_no_shares() -> None:
    """Only its total, and the replay."""
    async with Sandbox() as bank, running(bank, token={"min_interval": "0.001"}) as app:
        bank.bank.expire_all()
        assert await send(app) == 200
        assert value(app.metrics, "replays_total") == 1
        assert count(app, "request_proxy_duration") == 0
        assert count(app, "upstream_duration") == 0
