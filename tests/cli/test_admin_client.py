"""Requests to the admin port of proxies that work, fail, or are missing."""

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
    """Send a request while the event loop runs."""
    return await asyncio.to_thread(admin_client.probe, address, name)


@asynccontextmanager
async def responding(response: bytes) -> AsyncIterator[Address]:
    """Run a server that sends the same response to each request."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield Address(host=host, port=port)


@pytest.mark.parametrize(
    "where", [lambda _: "127.0.0.1:0", lambda path: f"unix:{path}/admin"], ids=["port", "socket"]
)
async def test_ready_proxy(tmp_path: Path, where: Callable[[Path], str]) -> None:
    """Over a port and a Unix socket."""
    async with Sandbox() as bank, running(bank, admin=where(tmp_path)) as app:
        assert (await ask(app.admin_address))[0]
        listeners = f'["{app.data_address}"]'
        expected = f'{{"status": "alive", "listeners": {listeners}}}'
        assert await ask(app.admin_address, "livez") == (True, expected)


async def test_proxy_that_is_not_ready() -> None:
    """Its reasons are returned."""
    async with running("http://127.0.0.1:9", ready=False) as app:
        is_ready, said = await ask(app.admin_address)
        assert not is_ready
        assert "no v2 token" in said


async def test_missing_proxy() -> None:
    """The error has the address."""
    async with responding(b"") as address:
        pass
    is_well, said = await ask(address)
    assert not is_well
    assert said.startswith(f"candescent-proxy: no response from {address} (")
    assert "Errno" not in said


async def test_another_protocol() -> None:
    """It is reported as not HTTP."""
    async with responding(b"SSH-2.0-x\r\n") as address:
        is_well, said = await ask(address)
        assert not is_well
        assert "not HTTP" in said


async def test_endless_response_is_bounded() -> None:
    """A megabyte is read."""
    async with responding(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5_000_000) as address:
        assert await ask(address) == (True, "x" * 1_000_000)


async def test_wait_ends_with_readiness_or_timeout() -> None:
    """It returns the last response at the timeout."""
    async with Sandbox() as bank, running(bank) as app:
        assert (await asyncio.to_thread(admin_client.wait, app.admin_address, 10))[0]
    assert not (await asyncio.to_thread(admin_client.wait, app.admin_address, 0.3))[0]
