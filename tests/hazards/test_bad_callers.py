"""Callers that are slow, many, or disconnect: hazards of time."""

import asyncio

import pytest

from proxy.sandbox import Fault
from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test
from tests.support.raw_client import GET, ask, connect, connected, request
from tests.support.running import until

EVERY_LOOP = True

CHUNKS = b"1\r\nx\r\n0\r\n\r\n"


# Slow callers.


async def test_slow_head_times_out() -> None:
    """The deadline applies to the whole head."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.3"}) as proxy,
        connect(proxy.app) as wire,
    ):
        blocks = [GET[at : at + 1] for at in range(len(GET))]
        sending = asyncio.create_task(wire.send(*blocks, every=0.05))
        response = await wire.read_response()
        assert (response.status, response.error) == (408, "slow-head")
        assert response.header("Connection") == "close"
        assert await wire.read_to_end() == b""
        sending.cancel()


async def test_http_0_9_request_times_out() -> None:
    """A bare `GET /` is an incomplete head."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.2"}) as proxy,
        connect(proxy.app) as wire,
    ):
        assert (await wire.ask(b"GET /\r\n")).status in (408, 505)


async def test_slow_second_head_times_out() -> None:
    """The deadline applies to every head on a connection."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.3"}) as proxy,
        connect(proxy.app) as wire,
    ):
        assert (await wire.ask()).status == 200
        await wire.send(GET[:20])
        assert (await wire.read_response()).status == 408
        assert await wire.read_to_end() == b""


async def test_partial_head_behind_a_request_times_out() -> None:
    """The deadline starts when the response before it is sent."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.3"}) as proxy,
        connect(proxy.app) as wire,
    ):
        await wire.send(GET + GET[:20])
        assert (await wire.read_response()).status == 200
        assert (await wire.read_response()).status == 408


async def test_slow_head_within_the_deadline_is_served(proxy: ProxyUnderTest) -> None:
    """A head may be slow within its deadline."""
    async with connect(proxy.app) as wire:
        await wire.send(*[GET[at : at + 1] for at in range(len(GET))])
        assert (await wire.read_response()).status == 200


async def test_stopped_body_times_out() -> None:
    """The request ends, upstream too."""
    async with (
        proxy_under_test(limits={"idle_timeout": "0.2"}) as proxy,
        connect(proxy.app) as wire,
    ):
        response = await wire.ask(request("POST", "/upload", "Content-Length: 10") + b"abc")
        assert (response.status, response.error) == (408, "slow-body")
        assert not proxy.bank.arrivals[0].complete
        assert proxy.app.pool.open_count == 0


async def test_slow_body_ends_at_the_total_deadline() -> None:
    """Single bytes do not extend it."""
    async with (
        proxy_under_test(upstream={"total_timeout": "0.5"}) as proxy,
        connect(proxy.app) as wire,
    ):
        await wire.send(request("POST", "/upload", "Content-Length: 1000"))
        sending = asyncio.create_task(wire.send(*[b"x"] * 1000, every=0.02))
        assert (await wire.read_response()).status == 504
        sending.cancel()


async def test_reader_that_reads_nothing_is_closed() -> None:
    """The upstream connection is released."""
    async with (
        proxy_under_test(limits={"idle_timeout": "0.3"}) as proxy,
        connect(proxy.app) as wire,
    ):
        wire.stop_reading()
        await wire.send(request("GET", "/download?bytes=100000000"))
        await until(lambda: proxy.app.forwarder.in_flight == 1)
        await until(lambda: proxy.app.forwarder.in_flight == 0)
        await until(lambda: proxy.app.pool.open_count == 0)


async def test_slow_callers_do_not_delay_others(proxy: ProxyUnderTest) -> None:
    """Idle connections, slow heads and unread responses."""
    async with connected(proxy.app, 60) as wires:
        for at, wire in enumerate(wires):
            if at % 3 == 0:
                await wire.send(GET[:30])
            elif at % 3 == 1:
                wire.stop_reading()
                await wire.send(request("GET", "/download?bytes=10000000"))
        for _ in range(20):
            assert (await ask(proxy.app)).status == 200


async def test_idle_connection_is_closed() -> None:
    """Before its first request and after its last."""
    async with (
        proxy_under_test(limits={"keepalive_timeout": "0.2"}) as proxy,
        connect(proxy.app) as silent,
        connect(proxy.app) as served,
    ):
        assert (await served.ask()).status == 200
        assert await silent.read_to_end() == b""
        assert await served.read_to_end() == b""


async def test_oldest_idle_connection_is_closed_at_the_limit() -> None:
    """The new connection is served."""
    async with (
        proxy_under_test(limits={"max_connections": "100"}) as proxy,
        connected(proxy.app, 200) as wires,
    ):
        await until(lambda: proxy.app.connection_count == 100)
        assert (await wires[-1].ask()).status == 200
        assert (await ask(proxy.app)).status == 200
        assert proxy.app.connection_count <= 100
        assert await wires[0].read_to_end() == b""


async def test_slow_heads_are_closed_at_the_limit() -> None:
    """They count as idle connections."""
    async with (
        proxy_under_test(limits={"max_connections": "5"}) as proxy,
        connected(proxy.app, 5) as wires,
    ):
        for wire in wires:
            await wire.send(GET[:20])
        assert (await ask(proxy.app)).status == 200
        assert await wires[0].read_to_end() == b""


async def test_new_connection_among_busy_ones_is_refused() -> None:
    """The response is a 503 with Retry-After."""
    async with proxy_under_test(limits={"max_connections": "2"}) as proxy:
        async with connected(proxy.app, 2) as wires:
            for wire in wires:
                await wire.send(request("GET", "/slow?seconds=1"))
            await until(lambda: proxy.app.forwarder.in_flight == 2)
            async with connect(proxy.app) as newcomer:
                response = await newcomer.read_response()
                assert (response.status, response.error) == (503, "too-many-connections")
                assert response.header("Retry-After") == "1"
                assert response.header("x-proxy-error-source") == "proxy"
                assert await newcomer.read_to_end() == b""
            assert [(await wire.read_response()).status for wire in wires] == [200, 200]
        await until(lambda: proxy.app.connection_count == 0)


async def test_requests_in_flight_are_bounded() -> None:
    """A request beyond the limit is refused at once; the others are served."""
    async with (
        proxy_under_test(limits={"max_in_flight": "2"}) as proxy,
        connect(proxy.app) as one,
        connect(proxy.app) as two,
        connect(proxy.app) as three,
    ):
        for wire in (one, two):
            await wire.send(request("GET", "/slow?seconds=0.5"))
        await until(lambda: proxy.app.forwarder.in_flight == 2)
        response = await three.ask()
        assert (response.status, response.error) == (503, "overloaded")
        assert response.header("Retry-After") == "1"
        assert (await one.read_response()).status == (await two.read_response()).status == 200
        assert (await three.ask()).status == 200


async def test_flood_of_pipelined_requests_is_answered(proxy: ProxyUnderTest) -> None:
    """In order; tests/server checks that they are not read ahead."""
    async with connect(proxy.app) as wire:
        await wire.send(GET * 30)
        for _ in range(30):
            assert (await wire.read_response()).status == 200
    async with connect(proxy.app) as wire:
        sending = asyncio.create_task(wire.send(GET * 1000))
        for _ in range(1000):
            assert (await wire.read_response()).status == 200
        await sending


# Callers that disconnect.


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_disconnect_before_the_response(how: str) -> None:
    """The upstream exchange is aborted and its connection is not reused."""
    async with proxy_under_test(limits={"half_close_timeout": "0.2"}) as proxy:
        async with connect(proxy.app) as wire:
            await wire.send(request("GET", "/slow?seconds=60"))
            await until(lambda: proxy.bank.arrivals)
            getattr(wire, how)()
            await until(lambda: proxy.app.forwarder.in_flight == 0)
        assert proxy.app.pool.open_count == 0


@pytest.mark.parametrize("how", ["close", "reset", "end_sending"])
async def test_disconnect_within_an_upload(how: str) -> None:
    """The bank does not take an incomplete body for complete."""
    async with (
        proxy_under_test(limits={"half_close_timeout": "60"}) as proxy,
        connect(proxy.app) as wire,
    ):
        await wire.send(request("POST", "/upload", "Content-Length: 1000000") + b"x" * 1000)
        await until(lambda: proxy.bank.arrivals)
        getattr(wire, how)()
        await until(lambda: proxy.app.forwarder.in_flight == 0)
    assert proxy.app.pool.open_count == 0
    assert not proxy.bank.arrivals[0].complete
    assert '"error_source": "upstream"' not in proxy.log


async def test_disconnect_while_reading_is_paused() -> None:
    """A reset is noticed although nothing is read; the bank does not accept the upload."""
    async with proxy_under_test() as proxy, connect(proxy.app) as wire:
        fault = Fault("resource", hang=True, unread=True, path_prefix="/upload")
        proxy.bank.faults.append(fault)
        await wire.send(request("POST", "/upload", "Content-Length: 50000000"))
        sending = asyncio.create_task(wire.send(b"x" * 50_000_000))
        await until(wire.writer.transport.get_write_buffer_size)
        await until(lambda: proxy.app.pool.open_count == 1)
        sending.cancel()
        wire.reset()
        await until(lambda: proxy.app.forwarder.in_flight == 0)
        assert proxy.app.pool.open_count == 0
        proxy.bank.faults.clear()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_disconnect_within_a_download(proxy: ProxyUnderTest, how: str) -> None:
    """The bank does not have to send the rest."""
    async with connect(proxy.app) as wire:
        await wire.send(request("GET", "/download?bytes=100000000"))
        await wire.reader.readexactly(100_000)
        getattr(wire, how)()
        await until(lambda: proxy.app.forwarder.in_flight == 0)
    assert proxy.app.pool.open_count == 0


@pytest.mark.parametrize(
    "data",
    [
        GET,
        request("GET", "/echo", "Connection: close"),
        GET.replace(b"1.1", b"1.0"),
        request("POST", "/echo", body=b"x" * 1000),
        request("POST", "/echo", "Transfer-Encoding: chunked") + CHUNKS,
        request("GET", "/slow?seconds=0.3"),
        request("GET", "/download?bytes=3000000"),
    ],
    ids=["plain", "close", "1.0", "sized body", "chunked body", "slow answer", "long answer"],
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
async def test_half_close_is_answered(
    proxy: ProxyUnderTest, data: bytes, *, together: bool
) -> None:
    """A caller that closes its sending side gets its response, then EOF."""
    async with connect(proxy.app) as wire:
        await wire.send(data)
        if not together:
            await until(lambda: proxy.bank.arrivals)
        wire.end_sending()
        assert (await wire.read_response()).status == 200
        assert await wire.read_to_end() == b""


async def test_half_close_behind_pipelined_requests(proxy: ProxyUnderTest) -> None:
    """All of them are answered."""
    async with connect(proxy.app) as wire:
        await wire.send(GET * 3)
        wire.end_sending()
        assert [(await wire.read_response()).status for _ in range(3)] == [200] * 3
        assert await wire.read_to_end() == b""


async def test_half_close_within_a_head(proxy: ProxyUnderTest) -> None:
    """An incomplete request is not answered."""
    async with connect(proxy.app) as wire:
        await wire.send(GET[:30])
        wire.end_sending()
        assert await wire.read_to_end() == b""
    assert not proxy.bank.arrivals


async def test_half_close_without_a_request(proxy: ProxyUnderTest) -> None:
    """The connection closes without a log line or an upstream connection."""
    async with connect(proxy.app) as wire:
        wire.end_sending()
        assert await wire.read_to_end() == b""
