"""A running sandbox bank, a clock to set, and a caller."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.sandbox import Sandbox, Settings
from tests.sandbox.caller import Clock, SandboxCaller


@pytest.fixture
def clock() -> Clock:
    """The bank's clock."""
    return Clock()


@pytest.fixture
async def caller(clock: Clock) -> AsyncIterator[SandboxCaller]:
    """A caller of a bank with the default settings."""
    # A connection for each request: the client would send a GET again on a reused one.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        Sandbox(Settings(), clock=clock) as sandbox,
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
    ):
        yield SandboxCaller(sandbox, session)
