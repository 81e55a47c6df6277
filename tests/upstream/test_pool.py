"""The connection pool: checkout, limits, queue and ages."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from proxy.errors import ProxyError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.connection import Connection
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.pool import Pool
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support.dialing import make_pool
from tests.support.running import DEADLINE, until
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    UpstreamConnection,
    close,
    forever,
    hold,
    ok,
    read,
    reset,
    respond_to_all,
    send,
    wait,
)

EVERY_LOOP = True

GET = b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n"


@asynccontextmanager
async def pooled(
    upstream: ScriptedUpstream,
    settings: UpstreamSettings = UpstreamSettings(),  # noqa: B008 - frozen
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[Pool]:
    """Make a pool for ``upstream``; check at the end that all its connections are closed."""
    origin = UpstreamOrigin("127.0.0.1", upstream.port, None)
    pool = Pool(Dialer(origin, settings), settings, wall)
    yield pool
    pool.close()
    assert pool.open_count == 0
    await until(lambda: upstream.open == 0)


async def checkout(pool: Pool) -> Connection:
    """Get a connection as the forwarder does."""
    return pool.checkout() or await pool.connect()


async def use(connection: Connection) -> bytes:
    """Run one exchange."""
    connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
    await connection.wait_for_head()
    body = b""
    while block := await connection.read():
        body += block
    return body


async def ask(pool: Pool) -> bytes:
    """Run one exchange on a connection of the pool."""
    connection = await checkout(pool)
    try:
        return await use(connection)
    finally:
        pool.release(connection)


# Reuse.


@pytest.mark.parametrize(
    ("step", "connections"), [(28_800.0, 2), (6.0, 2), (-3600.0, 2), (3.0, 1), (-3.0, 1)]
)
async def test_clocks_that_disagree_end_idle_connections(step: float, connections: int) -> None:
    """After a suspend, or when the wall clock is set, no idle connection is reused."""
    now = 1e9
    async with (
        ScriptedUpstream(respond_to_all()) as upstream,
        pooled(upstream, wall=lambda: now + time.monotonic()) as pool,
    ):
        held = [await checkout(pool) for _ in range(2)]
        for connection in held:
            await use(connection)
            pool.release(connection)
        now += step
        for _ in range(3):
            assert await ask(pool) == b"yes"
        assert upstream.connections == 1 + connections
        assert pool.open_count == pool.idle_count == (1 if connections == 2 else 2)


async def test_exchange_survives_a_clock_step() -> None:
    """A suspend during an exchange does not end it, and its connection is reused afterwards."""
    now = 1e9
    script = [read(), wait(), send(ok(b"late")), *respond_to_all()]
    async with (
        ScriptedUpstream(script) as upstream,
        pooled(upstream, wall=lambda: now + time.monotonic()) as pool,
    ):
        asking = asyncio.create_task(ask(pool))
        await until(lambda: upstream.requests)
        now += 28_800
        assert pool.checkout() is None
        upstream.may_continue.set()
        assert await asking == b"late"
        assert await ask(pool) == b"yes"
        assert upstream.connections == 1


async def test_connection_is_reused() -> None:
    """Sequential requests share a connection."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        for _ in range(3):
            assert await ask(pool) == b"yes"
        assert (upstream.connections, pool.open_count, pool.idle_count, pool.opened_count) == (
            1,
            1,
            1,
            1,
        )


async def test_most_recently_used_connection_is_first() -> None:
    """Connections of a burst become idle and are closed."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        first, second = await checkout(pool), await checkout(pool)
        await use(first)
        await use(second)
        pool.release(first)
        pool.release(second)
        assert pool.checkout() is second
        pool.release(second)
        assert pool.idle_count == 2


async def test_failed_exchange_closes_its_connection() -> None:
    """It is not handed out again."""
    async with (
        ScriptedUpstream([read(), reset()], respond_to_all()) as upstream,
        pooled(upstream) as pool,
    ):
        with pytest.raises(UpstreamError):
            await ask(pool)
        assert pool.open_count == 0
        assert await ask(pool) == b"yes"
        assert upstream.connections == 2


async def test_unfinished_exchange_closes_its_connection() -> None:
    """A connection that is released before the end of the response is closed."""
    script = [read(), send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), hold()]
    async with ScriptedUpstream(script) as upstream, pooled(upstream) as pool:
        connection = await checkout(pool)
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        pool.release(connection)
        assert (pool.open_count, pool.idle_count) == (0, 0)
        await until(lambda: upstream.open == 0)


@pytest.mark.parametrize("ending", [close(), reset()], ids=["closed", "reset"])
async def test_closed_connection_is_not_handed_out(ending: ScriptStep) -> None:
    """Checkout checks the connection and its socket."""
    script = [read(), send(ok(b"yes")), wait(), ending]
    async with ScriptedUpstream(script, respond_to_all()) as upstream, pooled(upstream) as pool:
        await ask(pool)
        (idle,) = pool._idle
        upstream.may_continue.set()
        await until(lambda: not idle.is_alive())
        assert await ask(pool) == b"yes"
        assert (upstream.connections, pool.open_count) == (2, 1)


async def test_connection_with_an_unexpected_byte_is_not_handed_out() -> None:
    """A late second response never reaches another request."""
    script = [read(), send(ok(b"yes")), wait(), send(ok(b"not yours")), hold()]
    async with ScriptedUpstream(script, respond_to_all()) as upstream, pooled(upstream) as pool:
        await ask(pool)
        (idle,) = pool._idle
        upstream.may_continue.set()
        await until(lambda: not idle.is_alive())
        assert await ask(pool) == b"yes"
        assert upstream.connections == 2


async def test_no_response_reaches_the_wrong_request() -> None:
    """Under load, with an upstream that sometimes responds twice."""

    async def serve(link: UpstreamConnection) -> None:
        for count in range(1, 10_000):
            request = await link.request()
            name = request.split(b" ", 2)[1]
            twice = count % 7 == 0
            link.writer.write(ok(name) * (2 if twice else 1))

    async with (
        ScriptedUpstream([serve]) as upstream,
        pooled(upstream, UpstreamSettings(max_connections=4)) as pool,
    ):
        failures: set[UpstreamFailure] = set()

        async def one(number: int) -> None:
            connection = await checkout(pool)
            name = b"/%d" % number
            head = b"GET " + name + b" HTTP/1.1\r\nHost: bank\r\n\r\n"
            try:
                connection.start(
                    head, bodiless=False, total_at=asyncio.get_running_loop().time() + 10
                )
                await connection.wait_for_head()
                assert await connection.read() == name
            except UpstreamError as error:
                failures.add(error.reason)
            finally:
                pool.release(connection)

        for batch in range(20):
            await asyncio.gather(*[one(batch * 10 + at) for at in range(10)])
        assert failures <= {kinds.UPSTREAM_MALFORMED}  # of the double responses


# Ages.


async def test_idle_connection_is_closed_at_its_idle_age() -> None:
    """It is closed without a checkout."""
    limits = UpstreamSettings(max_idle_age=0.05)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        await ask(pool)
        assert pool.idle_count == 1
        await until(lambda: pool.idle_count == 0)
        assert pool.open_count == 0
        await until(lambda: upstream.open == 0)


async def test_reaper_keeps_fresh_connections() -> None:
    """Only expired ones are closed; the others are checked again later."""
    limits = UpstreamSettings(max_idle_age=0.5)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        old, young = await checkout(pool), await checkout(pool)
        await use(old)
        pool.release(old)
        await asyncio.sleep(0.3)
        await use(young)
        pool.release(young)
        await until(lambda: pool.idle_count == 1)
        assert pool._idle == [young]
        await until(lambda: pool.open_count == 0)


async def test_total_age_closes_a_busy_connection() -> None:
    """A change of DNS takes effect however busy the connection is."""
    limits = UpstreamSettings(max_age=0.2)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        await until_connections(pool, upstream, 2)


async def until_connections(pool: Pool, upstream: ScriptedUpstream, count: int) -> None:
    """Send requests until the upstream has seen this many connections."""
    async with asyncio.timeout(DEADLINE):
        while upstream.connections < count:
            assert await ask(pool) == b"yes"


async def test_expired_idle_connection_is_not_handed_out() -> None:
    """It is closed at checkout before the reaper runs."""
    limits = UpstreamSettings(max_age=0.1, max_idle_age=60)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        await ask(pool)
        await asyncio.sleep(0.15)
        assert pool.checkout() is None
        assert pool.open_count == 0


# Limit and queue.


async def test_connection_limit_is_kept() -> None:
    """However many requests are concurrent."""
    script = [forever(read(), wait(), send(ok(b"yes")))]
    limits = UpstreamSettings(max_connections=3)
    async with ScriptedUpstream(script) as upstream, pooled(upstream, limits) as pool:
        asking = [asyncio.create_task(ask(pool)) for _ in range(10)]
        await until(lambda: len(upstream.requests) == 3)
        assert (upstream.open, pool.open_count, pool.waiting_count) == (3, 3, 7)
        upstream.may_continue.set()
        assert await asyncio.gather(*asking) == [b"yes"] * 10
        assert upstream.connections == 3


def is_full(pool: Pool, count: int) -> bool:
    """Whether this many requests are queued."""
    return pool.waiting_count == count


async def test_queue_is_fair() -> None:
    """The longest waiting request is first, and a new one does not overtake."""
    limits = UpstreamSettings(max_connections=1)
    order: list[int] = []

    async def ask_as(number: int, pool: Pool) -> None:
        await ask(pool)
        order.append(number)

    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        asking = []
        for number in range(5):
            asking.append(asyncio.create_task(ask_as(number, pool)))
            await until(partial(is_full, pool, number + 1))
        await use(held)
        pool.release(held)
        newcomer = asyncio.create_task(ask_as(5, pool))
        await asyncio.gather(*asking, newcomer)
        assert order == [0, 1, 2, 3, 4, 5]


async def test_failed_connection_frees_its_place() -> None:
    """A waiter gets the place and opens its own connection."""
    limits = UpstreamSettings(max_connections=1)
    async with (
        ScriptedUpstream([read(), wait(), reset()], respond_to_all()) as upstream,
        pooled(upstream, limits) as pool,
    ):
        failing = asyncio.create_task(ask(pool))
        await until(lambda: upstream.requests)
        waiting = asyncio.create_task(ask(pool))
        await until(lambda: pool.waiting_count == 1)
        upstream.may_continue.set()
        with pytest.raises(UpstreamError):
            await failing
        assert await waiting == b"yes"
        assert (pool.open_count, upstream.connections) == (1, 2)


async def test_full_queue_is_refused_at_once() -> None:
    """The response is a 503 with Retry-After."""
    limits = UpstreamSettings(max_connections=1, max_waiting=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        waiting = asyncio.create_task(ask(pool))
        await until(lambda: pool.waiting_count == 1)
        with pytest.raises(ProxyError) as caught:
            await pool.connect()
        assert (caught.value.kind.name, caught.value.kind.status) == ("upstream-busy", 503)
        assert caught.value.retry_after == 1
        await use(held)
        pool.release(held)
        assert await waiting == b"yes"


async def test_queue_wait_is_bounded() -> None:
    """The waiter leaves the queue at its deadline."""
    limits = UpstreamSettings(max_connections=1, max_wait=0.05)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        with pytest.raises(ProxyError) as caught:
            await pool.connect()
        assert caught.value.kind.name == "upstream-busy"
        assert not pool.waiting_count
        await use(held)
        pool.release(held)
        assert pool.idle_count == 1


async def test_cancelled_waiter_leaves_the_queue() -> None:
    """Its place is free for others."""
    limits = UpstreamSettings(max_connections=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        first = asyncio.create_task(ask(pool))
        second = asyncio.create_task(ask(pool))
        await until(lambda: pool.waiting_count == 2)
        first.cancel()
        await asyncio.wait([first])
        await use(held)
        pool.release(held)
        assert await second == b"yes"
        assert pool.open_count == 1


@pytest.mark.parametrize("well", [True, False], ids=["connection", "place"])
async def test_waiter_cancelled_while_it_is_served(*, well: bool) -> None:
    """Its connection or place goes to the next waiter."""
    limits = UpstreamSettings(max_connections=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        first = asyncio.create_task(ask(pool))
        second = asyncio.create_task(ask(pool))
        await until(lambda: pool.waiting_count == 2)
        if well:
            await use(held)
        pool.release(held)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        assert await second == b"yes"
        assert pool.open_count == 1


async def test_connection_lost_before_use_is_replaced() -> None:
    """A connection may be lost between release and use; a new one takes its place."""
    script = [read(), send(ok(b"yes")), hold()]
    limits = UpstreamSettings(max_connections=1)
    async with (
        ScriptedUpstream(script, respond_to_all()) as upstream,
        pooled(upstream, limits) as pool,
    ):
        held = await checkout(pool)
        await use(held)
        waiting = asyncio.create_task(ask(pool))
        await until(lambda: pool.waiting_count == 1)
        pool.release(held)
        held.abort()
        assert await waiting == b"yes"
        assert (pool.open_count, upstream.connections) == (1, 2)


async def test_new_connection_is_new_after_waiting() -> None:
    """A request for a new connection gets the place of the next free one."""
    limits = UpstreamSettings(max_connections=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        await use(held)
        waiting = asyncio.create_task(pool.connect(new=True))
        await until(lambda: pool.waiting_count == 1)
        pool.release(held)
        fresh = await waiting
        assert (fresh.exchanges, pool.open_count, upstream.connections) == (0, 1, 2)
        pool.release(fresh)


async def test_cancelled_connect_frees_its_place() -> None:
    """A caller that disconnects during a connect leaks nothing."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        for _ in range(20):
            connecting = asyncio.create_task(pool.connect())
            await asyncio.sleep(0)
            assert pool.open_count == 1
            connecting.cancel()
            await asyncio.wait([connecting])
            if not connecting.cancelled():  # the connect was faster
                pool.release(connecting.result())
            assert pool.open_count == 0


async def test_closed_pool_keeps_no_connection() -> None:
    """Idle connections close at once, used ones when released."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        busy = await checkout(pool)
        await ask(pool)
        assert (pool.open_count, pool.idle_count) == (2, 1)
        pool.close()
        assert (pool.open_count, pool.idle_count) == (1, 0)
        assert await use(busy) == b"yes"
        pool.release(busy)
        assert pool.open_count == 0


# Connect errors.


async def fails(pool: Pool) -> UpstreamError:
    """Try to connect; return the error."""
    with pytest.raises(UpstreamError) as caught:
        await pool.connect()
    assert pool.open_count == 0
    return caught.value


async def test_closed_port_is_refused() -> None:
    """It is a 502 with its own kind."""
    async with ScriptedUpstream(respond_to_all()) as upstream:
        port = upstream.port
    pool = make_pool("127.0.0.1", port)
    error = await fails(pool)
    assert (error.reason, error.kind.status) == (kinds.UPSTREAM_CONNECT, 502)


async def test_unresolvable_name_is_an_error() -> None:
    """It is a 502 with its own kind."""
    pool = make_pool("bank.invalid", 80)
    error = await fails(pool)
    assert (error.reason, error.kind.status) == (kinds.UPSTREAM_RESOLVE, 502)


async def test_full_listen_queue_times_out() -> None:
    """The connect deadline gives a 504."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            error = await fails(make_pool("127.0.0.1", port, connect_timeout=0.3))
            assert (error.reason, error.kind.status) == (kinds.UPSTREAM_CONNECT_TIMEOUT, 504)
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize(
    ("origin", "header"),
    [
        (UpstreamOrigin("bank.test", 80, None), b"bank.test"),
        (UpstreamOrigin("bank.test", 8080, None), b"bank.test:8080"),
        (UpstreamOrigin("bank.test", 443, None), b"bank.test:443"),
        (UpstreamOrigin("::1", 80, None), b"[::1]"),
        (UpstreamOrigin("::1", 81, None), b"[::1]:81"),
    ],
)
async def test_host_header(origin: UpstreamOrigin, header: bytes) -> None:
    """The port is in Host only if it is not the scheme's default."""
    assert origin.host_header == header
