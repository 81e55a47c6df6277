"""Listening ports and sockets: opening, renewing certificates, closing."""

import asyncio
import os
import socket
import ssl
import stat
from collections import Counter
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.server.address import Address
from proxy.server.port import Port
from tests.support.certificates import OpensslAuthority, server_context

EVERY_LOOP = True


class Greeter(asyncio.Protocol):
    """Sends a greeting and discards the rest."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the greeting."""
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        transport.write(b"hello")
        transport.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """The authority of the port's certificates."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


def address_of(text: str) -> Address:
    """Return a parsed address."""
    return Address.parse(text)


async def greeting(address: Address, tls: ssl.SSLContext | None = None) -> bytes:
    """Connect and return what is received."""
    if address.path:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_port_opens_and_closes() -> None:
    """Port 0 becomes a free port; after closing it is refused."""
    port = Port(Greeter, address_of("127.0.0.1:0"), 1)
    address = await port.open(None, 0o600)
    assert address.port
    assert await greeting(address) == b"hello"
    port.close()
    with pytest.raises(ConnectionRefusedError):
        await greeting(address)


async def test_port_in_use_is_reported() -> None:
    """The error has the setting, the address and the system's message."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address_of(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match=rf"listen: cannot listen on {address} \("):
            await Port(Greeter, address, 1).open(None, 0o600)


async def test_unix_socket_has_the_mode(tmp_path: Path) -> None:
    """The process's umask is restored."""
    mask = os.umask(0o022)
    os.umask(mask)
    port = Port(Greeter, address_of(f"unix:{tmp_path}/socket"), 1)
    address = await port.open(None, 0o640)
    assert await greeting(address) == b"hello"
    assert permissions(tmp_path / "socket") == 0o640
    assert os.umask(mask) == mask
    port.close()


async def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket with a listener is not replaced."""
    address = address_of(f"unix:{tmp_path}/socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)
    port = Port(Greeter, address, 1)
    await port.open(None, 0o600)
    with pytest.raises(ConfigError, match=r"listen: cannot listen on unix:.*in use"):
        await Port(Greeter, address, 1).open(None, 0o600)
    assert await greeting(address) == b"hello"
    port.close()


async def test_socket_with_full_queue_is_not_replaced(tmp_path: Path) -> None:
    """A full listen queue is a listener too."""
    address = address_of(f"unix:{tmp_path}/socket")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(address.path)
        busy.listen(0)
        waiting.connect(address.path)
        with pytest.raises(ConfigError, match=r"in use"):
            await Port(Greeter, address, 1).open(None, 0o600)


def permissions(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_renewed_certificates_lose_no_connection(authority: OpensslAuthority) -> None:
    """Every client is served while certificates change repeatedly."""
    certificates = [
        server_context(authority.issue(f"port {number}", "IP:127.0.0.1", file=f"port-{number}"))
        for number in range(2)
    ]
    trusting = ssl.create_default_context(cafile=authority.file)
    port = Port(Greeter, address_of("127.0.0.1:0"), 5)
    address = await port.open(certificates[0], 0o600)
    recorded: Counter[bytes] = Counter()

    async def connect() -> None:
        while recorded.total() < 150:
            recorded[await greeting(address, trusting)] += 1

    callers = [asyncio.create_task(connect()) for _ in range(10)]
    turns = 0
    while recorded.total() < 150:
        turns += 1
        port.replace_tls(certificates[turns % 2])
        await asyncio.sleep(0.005)
    await asyncio.gather(*callers)
    assert recorded.keys() == {b"hello"}
    assert turns > 3
    port.close()
