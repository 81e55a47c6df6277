"""Whose time it was: the proxy's, the bank's, the caller's, or a wait, through a real proxy."""

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
    """Return how many V2 requests a histogram has seen."""
    return value(app.metrics, f"{name}_seconds_count", route="v2") or 0.0


def shares(app: App) -> float:
    """Return what the proxy, the bank and the waits took together."""
    parts = ("request_proxy_duration", "upstream_duration", "token_wait", "connection_wait")
    return sum(seconds(app, part) for part in parts)


async def send(app: App, method: str = "GET", path: str = "/echo", data: object = None) -> int:
    """Send a request on a connection of its own and wait until it has been counted."""
    before = count(app, "request_duration")
    async with aiohttp.request(method, url(app) + path, data=data) as response:
        await response.read()
    await until(lambda: count(app, "request_duration") > before)
    return response.status


class Dawdler:
    """A caller who pauses in the middle of a body; ``seconds`` is how long, by the same clock."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.seconds = 0.0

    async def pause(self) -> None:
        """Wait for the proxy to have begun with the request, and a while longer."""
        await until(lambda: value(self._app.metrics, "requests_in_flight"))
        began = time.monotonic()
        await asyncio.sleep(PAUSE)
        self.seconds = time.monotonic() - began

    async def body(self) -> AsyncIterator[bytes]:
        """Give a body whose end comes late."""
        yield b"a" * 1000
        await self.pause()
        yield b"b" * 1000

    def is_left_out(self) -> bool:
        """Whether the pause is in nobody's share."""
        return shares(self._app) <= seconds(self._app, "request_duration") - self.seconds + 1e-6


async def test_bank_that_takes_its_time() -> None:
    """What the bank takes is the bank's, and nothing is left over."""
    async with Sandbox() as bank, running(bank) as app:
        bank.bank.faults.append(Fault("resource", delay=PAUSE))
        assert await send(app) == 200
        assert seconds(app, "upstream_duration") >= PAUSE
        assert seconds(app, "request_proxy_duration") > 0
        assert shares(app) == pytest.approx(seconds(app, "request_duration"))


async def test_wait_for_a_token() -> None:
    """It is nobody's share, and counted for the request that waited alone."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", delay=PAUSE))
        async with running(bank, ready=False) as app:
            assert await send(app) == 200
            assert await send(app) == 200
            assert count(app, "token_wait") == 1
            assert seconds(app, "token_wait") > 0
            assert shares(app) == pytest.approx(seconds(app, "request_duration"))


async def test_wait_for_a_connection() -> None:
    """A request waits for a new one to be made, or for another's to come free."""
    async with Sandbox() as bank, running(bank, upstream={"max_connections": 1}) as app:
        bank.bank.faults.append(Fault("resource", delay=PAUSE))
        assert set(await asyncio.gather(send(app), send(app))) == {200}
        await until(lambda: count(app, "request_duration") == 2)
        assert count(app, "connection_wait") == 2
        assert seconds(app, "connection_wait") > 0
        assert shares(app) == pytest.approx(seconds(app, "request_duration"))


async def test_slow_upload_is_the_callers() -> None:
    """The bank's time begins with the last byte of the request."""
    async with Sandbox() as bank, running(bank) as app:
        assert await send(app) == 200  # from now on there is a connection
        caller = Dawdler(app)
        assert await send(app, "POST", data=caller.body()) == 200
        assert count(app, "upstream_duration") == 2
        assert caller.is_left_out()


async def test_slow_download_is_nobodys() -> None:
    """The proxy's time ends when the answer begins to go out, however long that takes."""
    async with Sandbox() as bank, running(bank) as app:
        bank.bank.faults.append(Fault("resource", dribble=PAUSE / 250))
        assert await send(app) == 200
        assert count(app, "request_proxy_duration") == 1
        assert shares(app) <= seconds(app, "request_duration") - PAUSE


async def test_slow_body_of_an_error_is_nobodys() -> None:
    """What might refuse the token is read before it is relayed, at the pace of the bank."""
    async with Sandbox() as bank, running(bank) as app:
        bank.bank.faults.append(Fault("resource", code="CMN_90006", dribble=PAUSE / 25))
        assert await send(app) == 400
        assert count(app, "request_proxy_duration") == 1
        assert shares(app) <= seconds(app, "request_duration") - PAUSE


async def test_body_that_is_kept_for_a_replay_is_waited_for() -> None:
    """Until it is here, the request does not go out, and that is not the proxy's time."""
    replay = {"paths": [{"path": "/echo", "methods": ["POST"]}]}
    async with Sandbox() as bank, running(bank, replay=replay) as app:
        _, port = str(app.data_address).rsplit(":", 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        caller = Dawdler(app)
        await caller.pause()
        writer.write(b"cd")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await until(lambda: count(app, "request_duration") == 1)
        writer.close()
        assert caller.is_left_out()


async def test_request_that_goes_twice_is_not_shared_out() -> None:
    """Of a request with two exchanges the whole is told, and that it was sent again."""
    async with Sandbox() as bank, running(bank, token={"min_interval": "0.001"}) as app:
        bank.bank.expire_all()
        assert await send(app) == 200
        assert value(app.metrics, "replays_total") == 1
        assert count(app, "request_proxy_duration") == 0
        assert count(app, "upstream_duration") == 0
