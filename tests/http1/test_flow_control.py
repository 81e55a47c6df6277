"""Flow control, on the transports of a real socket pair."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from proxy.http1.flow_control import FlowControl
from tests.support.running import until

EVERY_LOOP = True


class Protocol(asyncio.Protocol):
    """A protocol with flow control only."""

    def __init__(self) -> None:
        self.flow = FlowControl(asyncio.get_running_loop())
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Keep the data."""
        self.received += data

    def pause_writing(self) -> None:
        """Delegate."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """Delegate."""
        self.flow.resume_writing()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Protocol, asyncio.Transport, socket.socket]]:
    """A protocol, its transport, and the socket at the other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Protocol, sock=ours)
    protocol.flow.attach(transport)
    yield protocol, transport, theirs
    transport.abort()
    theirs.close()
    await asyncio.sleep(0)


Pair = tuple[Protocol, asyncio.Transport, socket.socket]


async def test_nothing_is_read_while_reading_is_paused(pair: Pair) -> None:
    """Pending data is read afterwards."""
    protocol, transport, theirs = pair
    protocol.flow.pause_reading()
    assert (protocol.flow.is_reading_paused, transport.is_reading()) == (True, False)
    theirs.send(b"hello")
    protocol.flow.resume_reading()
    assert (protocol.flow.is_reading_paused, transport.is_reading()) == (False, True)
    await until(lambda: protocol.received == b"hello")


async def test_writers_wait_while_the_buffer_is_full(pair: Pair) -> None:
    """They continue when the other end has read."""
    protocol, transport, theirs = pair
    transport.write(b"x" * (4 << 20))
    await until(lambda: protocol.flow.drained is not None)
    drained = protocol.flow.drained
    assert drained is not None
    while not drained.done():
        try:
            theirs.recv(1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0)
    transport.write(b"more")
    assert not protocol.flow.drained


async def test_lost_connection_releases_writers(pair: Pair) -> None:
    """Later pauses have no effect."""
    protocol, transport, _ = pair
    transport.write(b"x" * (4 << 20))
    await until(lambda: protocol.flow.drained is not None)
    drained = protocol.flow.drained
    protocol.flow.detach()
    assert drained is not None
    assert drained.done()
    protocol.flow.pause_reading()
    protocol.flow.resume_reading()
    assert transport.is_reading()
