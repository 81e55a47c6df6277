"""Fixtures: a running sandbox bank, its clock, and a client."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.sandbox import Sandbox, Settings
from tests.sandbox.caller import Clock, SandboxCaller


@pytest.fixture
def clock() -> Clock:
    """The clock of the bank."""
    return Clock()


@pytest.fixture
async def caller(clock: Clock) -> AsyncIterator[SandboxCaller]:
    """A client of a bank with default settings."""
    # One connection per request, because aiohttp repeats a GET after a reset of a reused one.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        Sandbox(Settings(), clock=clock) as sandbox,
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
    ):
        yield SandboxCaller(sandbox, session)
