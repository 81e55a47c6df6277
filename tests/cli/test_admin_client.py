"""Asking a proxy how it is: what comes back from one that is well, ill, strange, or not there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cli import admin_client
from proxy.sandbox import Sandbox
from proxy.server.address import Address
from tests.support.running import running


async def ask(address: Address, name: str = "readyz") -> tuple[bool, str]:
    """Ask, while the event loop that answers goes on."""
    return await asyncio.to_thread(admin_client.probe, address, name)


@asynccontextmanager
async def saying(response: bytes) -> AsyncIterator[Address]:
    """Somebody who says the same to everyone."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield Address(host=host, port=port)


@pytest.mark.parametrize(
    "where", [lambda _: "127.0.0.1:0", lambda path: f"unix:{path}/admin"], ids=["port", "socket"]
)
async def test_proxy_that_is_well(tmp_path: Path, where: Callable[[Path], str]) -> None:
    """Over a port and over a socket file."""
    async with Sandbox() as bank, running(bank, admin=where(tmp_path)) as app:
        assert (await ask(app.admin_address))[0]
        assert await ask(app.admin_address, "livez") == (True, '{"status": "alive"}')


async def test_proxy_that_is_not_ready() -> None:
    """Its own words are what is said."""
    async with running("http://127.0.0.1:9", ready=False) as app:
        is_ready, said = await ask(app.admin_address)
        assert not is_ready
        assert "no v2 token" in said


async def test_nobody_there() -> None:
    """The address is in the complaint."""
    async with saying(b"") as address:
        pass
    is_well, said = await ask(address)
    assert not is_well
    assert said.startswith(f"candescent-proxy: nothing answers on {address}")


async def test_somebody_else_there() -> None:
    """What is no HTTP is told and raises nothing."""
    async with saying(b"SSH-2.0-x\r\n") as address:
        is_well, said = await ask(address)
        assert not is_well
        assert "not HTTP" in said


async def test_endless_answer_is_not_read_to_its_end() -> None:
    """A megabyte is enough of whatever it is."""
    async with saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5_000_000) as address:
        assert await ask(address) == (True, "x" * 1_000_000)


async def test_wait_ends_with_readiness_and_with_patience() -> None:
    """It returns when the proxy is ready, or the last answer when time is up."""
    async with Sandbox() as bank, running(bank) as app:
        assert (await asyncio.to_thread(admin_client.wait, app.admin_address, 10))[0]
    assert not (await asyncio.to_thread(admin_client.wait, app.admin_address, 0.3))[0]
