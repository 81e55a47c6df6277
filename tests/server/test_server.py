"""The set of client connections, and closing them."""

import asyncio

from proxy.server.limits import CallerLimits
from proxy.server.messages import Request, Response
from tests.server.listening import listening, ok
from tests.support.raw_client import connect, connected
from tests.support.running import until

EVERY_LOOP = True

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_connections_are_counted() -> None:
    """Open connections are counted until they end."""
    async with listening() as front:
        async with connected(front, 3) as wires:
            await until(lambda: front.server.connection_count == 3)
            wires[0].close()
            await until(lambda: front.server.connection_count == 2)
        await until(lambda: front.server.connection_count == 0)


async def test_close_ends_idle_connections_at_once() -> None:
    """With or without an earlier request."""
    async with listening() as front, connect(front) as fresh, connect(front) as used:
        await used.ask(GET)
        front.server.close()
        assert await fresh.read_to_end() == b""
        assert await used.read_to_end() == b""


async def test_close_lets_running_requests_finish() -> None:
    """Their responses are sent before the end."""
    go = asyncio.Event()

    async def slow(_request: Request) -> Response:
        await go.wait()
        return ok(b"in time")

    async with listening(slow) as front, connect(front) as wire:
        await wire.send(GET)
        await until(lambda: any(not one.is_waiting for one in front.server._connections))
        front.server.close()
        go.set()
        assert (await wire.read_response()).body == b"in time"
        assert await wire.read_to_end() == b""


async def test_close_lets_pipelined_requests_finish() -> None:
    """Requests that were read before are answered."""
    go = asyncio.Event()

    async def slow(_request: Request) -> Response:
        await go.wait()
        return ok()

    async with listening(slow) as front, connect(front) as wire:
        await wire.send(GET * 3)
        await until(lambda: any(not one.is_waiting for one in front.server._connections))
        front.server.close()
        go.set()
        assert [(await wire.read_response()).status for _ in range(3)] == [200] * 3
        assert await wire.read_to_end() == b""


async def test_abort_ends_all_connections() -> None:
    """Handlers are cancelled."""
    cancelled: list[bytes] = []

    async def forever(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(request.target)
        return ok()

    async with listening(forever) as front, connect(front) as wire:
        await wire.send(GET)
        await until(lambda: any(not one.is_waiting for one in front.server._connections))
        await front.server.abort()
        assert cancelled == [b"/a"]
        assert await wire.read_to_end() == b""
    assert front.server.connection_count == 0


async def test_new_connection_replaces_the_oldest_idle_one() -> None:
    """Connections with a running request stay."""
    go = asyncio.Event()

    async def slow(_request: Request) -> Response:
        await go.wait()
        return ok()

    limits = CallerLimits(max_connections=3)
    async with listening(slow, limits) as front, connected(front, 3) as wires:
        await wires[0].send(GET)
        await until(lambda: any(not one.is_waiting for one in front.server._connections))
        await until(lambda: front.server.connection_count == 3)
        async with connect(front) as newcomer:
            assert await wires[1].read_to_end() == b""
            assert front.server.connection_count == 3
            await newcomer.send(GET)
            await wires[2].send(GET)
            go.set()
            for wire in (wires[0], wires[2], newcomer):
                assert (await wire.read_response()).status == 200
    assert front.refused_errors == []
    assert front.server.refusals.counts["connections"] == 1
