"""Callers that are slow, many, or gone: every row of the catalogue that is about time."""

import asyncio

import pytest

from proxy.sandbox import Fault
from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test
from tests.support.raw_client import GET, ask, connect, connected, request
from tests.support.running import until

EVERY_LOOP = True

CHUNKS = b"1\r\nx\r\n0\r\n\r\n"


# Time.


async def test_head_that_dribbles() -> None:
    """A head has one deadline, however it comes."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.3"}) as here,
        connect(here.app) as wire,
    ):
        blocks = [GET[at : at + 1] for at in range(len(GET))]
        sending = asyncio.create_task(wire.send(*blocks, every=0.05))
        response = await wire.read_response()
        assert (response.status, response.error) == (408, "slow-head")
        assert response.header("Connection") == "close"
        assert await wire.read_to_end() == b""
        sending.cancel()


async def test_request_of_http_0_9_that_never_ends() -> None:
    """A bare `GET /` is no whole head to us, and is not waited for longer than others."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.2"}) as here,
        connect(here.app) as wire,
    ):
        assert (await wire.ask(b"GET /\r\n")).status in (408, 505)


async def test_second_head_that_dribbles() -> None:
    """The deadline holds for every head on a connection, not for the first alone."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.3"}) as here,
        connect(here.app) as wire,
    ):
        assert (await wire.ask()).status == 200
        await wire.send(GET[:20])
        assert (await wire.read_response()).status == 408
        assert await wire.read_to_end() == b""


async def test_half_a_head_behind_a_request() -> None:
    """Nor is it forgotten where half a head came while another request was being served."""
    async with (
        proxy_under_test(limits={"header_timeout": "0.3"}) as here,
        connect(here.app) as wire,
    ):
        await wire.send(GET + GET[:20])
        assert (await wire.read_response()).status == 200
        assert (await wire.read_response()).status == 408


async def test_slow_head_within_the_deadline(here: ProxyUnderTest) -> None:
    """Who is slow but in time is served."""
    async with connect(here.app) as wire:
        await wire.send(*[GET[at : at + 1] for at in range(len(GET))])
        assert (await wire.read_response()).status == 200


async def test_body_that_stops() -> None:
    """A body that no longer comes ends its request, upstream too."""
    async with proxy_under_test(limits={"idle_timeout": "0.2"}) as here, connect(here.app) as wire:
        response = await wire.ask(request("POST", "/upload", "Content-Length: 10") + b"abc")
        assert (response.status, response.error) == (408, "slow-body")
        assert not here.bank.arrivals[0].complete
        assert here.app.pool.open_count == 0


async def test_body_that_dribbles_past_the_total_deadline() -> None:
    """A byte now and then keeps a request alive no longer than any other."""
    async with (
        proxy_under_test(upstream={"total_timeout": "0.5"}) as here,
        connect(here.app) as wire,
    ):
        await wire.send(request("POST", "/upload", "Content-Length: 1000"))
        sending = asyncio.create_task(wire.send(*[b"x"] * 1000, every=0.02))
        assert (await wire.read_response()).status == 504
        sending.cancel()


async def test_reader_that_takes_nothing() -> None:
    """A caller that does not take its answer is cut off; the bank's connection is let go."""
    async with proxy_under_test(limits={"idle_timeout": "0.3"}) as here, connect(here.app) as wire:
        wire.stop_reading()
        await wire.send(request("GET", "/download?bytes=100000000"))
        await until(lambda: here.app.forwarder.in_flight == 1)
        await until(lambda: here.app.forwarder.in_flight == 0)
        await until(lambda: here.app.pool.open_count == 0)


async def test_others_are_served_beside_the_slow(here: ProxyUnderTest) -> None:
    """Idle connections, dribbling heads, and unread answers do not keep others waiting."""
    async with connected(here.app, 60) as wires:
        for at, wire in enumerate(wires):
            if at % 3 == 0:
                await wire.send(GET[:30])
            elif at % 3 == 1:
                wire.stop_reading()
                await wire.send(request("GET", "/download?bytes=10000000"))
        for _ in range(20):
            assert (await ask(here.app)).status == 200


async def test_idle_connection_is_closed_in_time() -> None:
    """Before its first request and after its last."""
    async with (
        proxy_under_test(limits={"keepalive_timeout": "0.2"}) as here,
        connect(here.app) as silent,
        connect(here.app) as served,
    ):
        assert (await served.ask()).status == 200
        assert await silent.read_to_end() == b""
        assert await served.read_to_end() == b""


async def test_idle_connections_over_the_cap() -> None:
    """The oldest that is not being served has to go, and the newcomer is served."""
    async with (
        proxy_under_test(limits={"max_connections": "100"}) as here,
        connected(here.app, 200) as wires,
    ):
        await until(lambda: here.app.connection_count == 100)
        assert (await wires[-1].ask()).status == 200
        assert (await ask(here.app)).status == 200
        assert here.app.connection_count <= 100
        assert await wires[0].read_to_end() == b""


async def test_dribbling_heads_do_not_fill_the_cap() -> None:
    """They are not being served, so they go like idle ones."""
    async with (
        proxy_under_test(limits={"max_connections": "5"}) as here,
        connected(here.app, 5) as wires,
    ):
        for wire in wires:
            await wire.send(GET[:20])
        assert (await ask(here.app)).status == 200
        assert await wires[0].read_to_end() == b""


async def test_newcomer_when_all_are_being_served() -> None:
    """Nobody who is being served is cut off for another: 503, and when to come again."""
    async with proxy_under_test(limits={"max_connections": "2"}) as here:
        async with connected(here.app, 2) as wires:
            for wire in wires:
                await wire.send(request("GET", "/slow?seconds=1"))
            await until(lambda: here.app.forwarder.in_flight == 2)
            async with connect(here.app) as newcomer:
                response = await newcomer.read_response()
                assert (response.status, response.error) == (503, "too-many-connections")
                assert response.header("Retry-After") == "1"
                assert response.header("x-proxy-error-source") == "proxy"
                assert await newcomer.read_to_end() == b""
            assert [(await wire.read_response()).status for wire in wires] == [200, 200]
        await until(lambda: here.app.connection_count == 0)


async def test_requests_in_flight_are_bounded() -> None:
    """Beyond the bound a request is refused at once; those within it are served."""
    async with (
        proxy_under_test(limits={"max_in_flight": "2"}) as here,
        connect(here.app) as one,
        connect(here.app) as two,
        connect(here.app) as three,
    ):
        for wire in (one, two):
            await wire.send(request("GET", "/slow?seconds=0.5"))
        await until(lambda: here.app.forwarder.in_flight == 2)
        response = await three.ask()
        assert (response.status, response.error) == (503, "overloaded")
        assert response.header("Retry-After") == "1"
        assert (await one.read_response()).status == (await two.read_response()).status == 200
        assert (await three.ask()).status == 200


async def test_flood_of_pipelined_requests(here: ProxyUnderTest) -> None:
    """All are answered, in order; tests/server holds that they are not read ahead."""
    async with connect(here.app) as wire:
        await wire.send(GET * 30)
        for _ in range(30):
            assert (await wire.read_response()).status == 200
    async with connect(here.app) as wire:
        sending = asyncio.create_task(wire.send(GET * 1000))
        for _ in range(1000):
            assert (await wire.read_response()).status == 200
        await sending


# Going away.


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_caller_goes_away_before_the_answer(how: str) -> None:
    """The exchange with the bank ends, its connection is not used again, nothing is left."""
    async with proxy_under_test(limits={"half_close_timeout": "0.2"}) as here:
        async with connect(here.app) as wire:
            await wire.send(request("GET", "/slow?seconds=60"))
            await until(lambda: here.bank.arrivals)
            getattr(wire, how)()
            await until(lambda: here.app.forwarder.in_flight == 0)
        assert here.app.pool.open_count == 0


@pytest.mark.parametrize("how", ["close", "reset", "end_sending"])
async def test_caller_goes_away_in_mid_upload(how: str) -> None:
    """What has not come whole is not taken for whole by the bank."""
    async with (
        proxy_under_test(limits={"half_close_timeout": "60"}) as here,
        connect(here.app) as wire,
    ):
        await wire.send(request("POST", "/upload", "Content-Length: 1000000") + b"x" * 1000)
        await until(lambda: here.bank.arrivals)
        getattr(wire, how)()
        await until(lambda: here.app.forwarder.in_flight == 0)
    assert here.app.pool.open_count == 0
    assert not here.bank.arrivals[0].complete
    assert '"error_source": "upstream"' not in here.log


async def test_caller_that_is_made_to_wait_goes_away() -> None:
    """Its reset is seen though nothing of it is read: the bank does not take its upload."""
    async with proxy_under_test() as here, connect(here.app) as wire:
        fault = Fault("resource", hang=True, unread=True, path_prefix="/upload")
        here.bank.faults.append(fault)
        await wire.send(request("POST", "/upload", "Content-Length: 50000000"))
        sending = asyncio.create_task(wire.send(b"x" * 50_000_000))
        await until(wire.writer.transport.get_write_buffer_size)
        await until(lambda: here.app.pool.open_count == 1)
        sending.cancel()
        wire.reset()
        await until(lambda: here.app.forwarder.in_flight == 0)
        assert here.app.pool.open_count == 0
        here.bank.faults.clear()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_caller_goes_away_in_mid_download(here: ProxyUnderTest, how: str) -> None:
    """The bank is not made to send the rest."""
    async with connect(here.app) as wire:
        await wire.send(request("GET", "/download?bytes=100000000"))
        await wire.reader.readexactly(100_000)
        getattr(wire, how)()
        await until(lambda: here.app.forwarder.in_flight == 0)
    assert here.app.pool.open_count == 0


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
async def test_half_close_is_answered(here: ProxyUnderTest, data: bytes, *, together: bool) -> None:
    """A caller that ends its sending behind a whole request reads its answer, then the end."""
    async with connect(here.app) as wire:
        await wire.send(data)
        if not together:
            await until(lambda: here.bank.arrivals)
        wire.end_sending()
        assert (await wire.read_response()).status == 200
        assert await wire.read_to_end() == b""


async def test_half_close_behind_pipelined_requests(here: ProxyUnderTest) -> None:
    """All of them are answered."""
    async with connect(here.app) as wire:
        await wire.send(GET * 3)
        wire.end_sending()
        assert [(await wire.read_response()).status for _ in range(3)] == [200] * 3
        assert await wire.read_to_end() == b""


async def test_half_close_within_a_head(here: ProxyUnderTest) -> None:
    """Half a request is none."""
    async with connect(here.app) as wire:
        await wire.send(GET[:30])
        wire.end_sending()
        assert await wire.read_to_end() == b""
    assert not here.bank.arrivals


async def test_half_close_without_a_request(here: ProxyUnderTest) -> None:
    """A port scan costs nothing."""
    async with connect(here.app) as wire:
        wire.end_sending()
        assert await wire.read_to_end() == b""
