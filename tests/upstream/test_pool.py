"""The pool: who gets which connection, how many there are, and how old they become."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from proxy.errors import ProxyError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.connection import Connection
from proxy.upstream.pool import Pool, UpstreamOrigin
from proxy.upstream.upstream_settings import UpstreamSettings
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
) -> AsyncIterator[Pool]:
    """Make a pool for ``upstream``; at the end, nothing that it opened may be left."""
    origin = UpstreamOrigin("127.0.0.1", upstream.port, None)
    pool = Pool(origin, settings)
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


async def test_connection_is_reused() -> None:
    """One after another, requests share a connection."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        for _ in range(3):
            assert await ask(pool) == b"yes"
        assert (upstream.connections, pool.open_count, pool.idle_count, pool.opened_count) == (
            1,
            1,
            1,
            1,
        )


async def test_most_recently_used_goes_first() -> None:
    """So that those a burst has opened grow old and go."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        first, second = await checkout(pool), await checkout(pool)
        await use(first)
        await use(second)
        pool.release(first)
        pool.release(second)
        assert pool.checkout() is second
        pool.release(second)
        assert pool.idle_count == 2


async def test_failed_exchange_ends_its_connection() -> None:
    """A connection whose exchange did not end well is not seen again."""
    async with (
        ScriptedUpstream([read(), reset()], respond_to_all()) as upstream,
        pooled(upstream) as pool,
    ):
        with pytest.raises(UpstreamError):
            await ask(pool)
        assert pool.open_count == 0
        assert await ask(pool) == b"yes"
        assert upstream.connections == 2


async def test_unfinished_exchange_ends_its_connection() -> None:
    """Given back before its answer was read to the end, a connection is closed."""
    script = [read(), send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), hold()]
    async with ScriptedUpstream(script) as upstream, pooled(upstream) as pool:
        connection = await checkout(pool)
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        pool.release(connection)
        assert (pool.open_count, pool.idle_count) == (0, 0)
        await until(lambda: upstream.open == 0)


@pytest.mark.parametrize("ending", [close(), reset()], ids=["closed", "reset"])
async def test_connection_that_the_upstream_ended_is_not_handed_out(ending: ScriptStep) -> None:
    """At checkout a connection is looked at again, down to the socket."""
    script = [read(), send(ok(b"yes")), wait(), ending]
    async with ScriptedUpstream(script, respond_to_all()) as upstream, pooled(upstream) as pool:
        await ask(pool)
        (idle,) = pool._idle
        upstream.may_continue.set()
        await until(lambda: not idle.is_alive())
        assert await ask(pool) == b"yes"
        assert (upstream.connections, pool.open_count) == (2, 1)


async def test_connection_with_an_unasked_byte_is_not_handed_out() -> None:
    """A late second answer is never another request's."""
    script = [read(), send(ok(b"yes")), wait(), send(ok(b"not yours")), hold()]
    async with ScriptedUpstream(script, respond_to_all()) as upstream, pooled(upstream) as pool:
        await ask(pool)
        (idle,) = pool._idle
        upstream.may_continue.set()
        await until(lambda: not idle.is_alive())
        assert await ask(pool) == b"yes"
        assert upstream.connections == 2


async def test_no_answer_reaches_the_wrong_request() -> None:
    """Under load, with an upstream that answers twice now and then, every answer is one's own."""

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
        assert failures <= {kinds.UPSTREAM_MALFORMED}  # of those that came in pairs


# Ages.


async def test_idle_connection_grows_too_old() -> None:
    """After its idle age a connection is closed without anybody asking for one."""
    limits = UpstreamSettings(max_idle_age=0.05)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        await ask(pool)
        assert pool.idle_count == 1
        await until(lambda: pool.idle_count == 0)
        assert pool.open_count == 0
        await until(lambda: upstream.open == 0)


async def test_reaper_leaves_the_fit() -> None:
    """Only those whose time has come go; the others are looked at again later."""
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


async def test_total_age_ends_a_connection_in_use_all_the_time() -> None:
    """So that a change of DNS arrives, however busy the connection is."""
    limits = UpstreamSettings(max_age=0.2)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        await until_connections(pool, upstream, 2)


async def until_connections(pool: Pool, upstream: ScriptedUpstream, count: int) -> None:
    """Ask again and again until the upstream has seen so many connections."""
    async with asyncio.timeout(DEADLINE):
        while upstream.connections < count:
            assert await ask(pool) == b"yes"


async def test_stale_idle_connection_is_not_handed_out() -> None:
    """One that is past its age when somebody asks goes before the reaper comes."""
    limits = UpstreamSettings(max_age=0.1, max_idle_age=60)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        await ask(pool)
        await asyncio.sleep(0.15)
        assert pool.checkout() is None
        assert pool.open_count == 0


# The limit, and the queue at it.


async def test_limit_is_held() -> None:
    """However many ask at once, the upstream never has more connections than the limit."""
    script = [forever(read(), wait(), send(ok(b"yes")))]
    limits = UpstreamSettings(max_connections=3)
    async with ScriptedUpstream(script) as upstream, pooled(upstream, limits) as pool:
        asking = [asyncio.create_task(ask(pool)) for _ in range(10)]
        await until(lambda: len(upstream.requests) == 3)
        assert (upstream.open, pool.open_count, len(pool._waiting)) == (3, 3, 7)
        upstream.may_continue.set()
        assert await asyncio.gather(*asking) == [b"yes"] * 10
        assert upstream.connections == 3


def is_full(pool: Pool, count: int) -> bool:
    """Whether so many wait."""
    return len(pool._waiting) == count


async def test_queue_is_fair() -> None:
    """Who waits longest is served first, and a newcomer does not overtake."""
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


async def test_place_passes_on_when_a_connection_dies() -> None:
    """A waiter gets the place of a connection that ended badly, and opens its own."""
    limits = UpstreamSettings(max_connections=1)
    async with (
        ScriptedUpstream([read(), wait(), reset()], respond_to_all()) as upstream,
        pooled(upstream, limits) as pool,
    ):
        failing = asyncio.create_task(ask(pool))
        await until(lambda: upstream.requests)
        waiting = asyncio.create_task(ask(pool))
        await until(lambda: len(pool._waiting) == 1)
        upstream.may_continue.set()
        with pytest.raises(UpstreamError):
            await failing
        assert await waiting == b"yes"
        assert (pool.open_count, upstream.connections) == (1, 2)


async def test_full_queue_is_said_at_once() -> None:
    """Beyond the bound of the queue nobody waits: 503 with Retry-After."""
    limits = UpstreamSettings(max_connections=1, max_waiting=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        waiting = asyncio.create_task(ask(pool))
        await until(lambda: len(pool._waiting) == 1)
        with pytest.raises(ProxyError) as caught:
            await pool.connect()
        assert (caught.value.kind.name, caught.value.kind.status) == ("upstream-busy", 503)
        assert caught.value.retry_after == 1
        await use(held)
        pool.release(held)
        assert await waiting == b"yes"


async def test_wait_is_bounded() -> None:
    """A waiter gives up after its time, and leaves nothing behind."""
    limits = UpstreamSettings(max_connections=1, max_wait=0.05)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        with pytest.raises(ProxyError) as caught:
            await pool.connect()
        assert caught.value.kind.name == "upstream-busy"
        assert not pool._waiting
        await use(held)
        pool.release(held)
        assert pool.idle_count == 1


async def test_cancelled_waiter_leaves_the_queue() -> None:
    """A caller that goes away while it waits costs nobody a place."""
    limits = UpstreamSettings(max_connections=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        first = asyncio.create_task(ask(pool))
        second = asyncio.create_task(ask(pool))
        await until(lambda: len(pool._waiting) == 2)
        first.cancel()
        await asyncio.wait([first])
        await use(held)
        pool.release(held)
        assert await second == b"yes"
        assert pool.open_count == 1


@pytest.mark.parametrize("well", [True, False], ids=["connection", "place"])
async def test_waiter_cancelled_in_the_moment_it_is_served(*, well: bool) -> None:
    """What was just given to it is passed on, whether a connection or a place for one."""
    limits = UpstreamSettings(max_connections=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        first = asyncio.create_task(ask(pool))
        second = asyncio.create_task(ask(pool))
        await until(lambda: len(pool._waiting) == 2)
        if well:
            await use(held)
        pool.release(held)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        assert await second == b"yes"
        assert pool.open_count == 1


async def test_connection_spoilt_on_its_way_to_a_waiter_is_replaced() -> None:
    """Between release and use a connection may go; then its place is used for a new one."""
    script = [read(), send(ok(b"yes")), hold()]
    limits = UpstreamSettings(max_connections=1)
    async with (
        ScriptedUpstream(script, respond_to_all()) as upstream,
        pooled(upstream, limits) as pool,
    ):
        held = await checkout(pool)
        await use(held)
        waiting = asyncio.create_task(ask(pool))
        await until(lambda: len(pool._waiting) == 1)
        pool.release(held)
        held.abort()
        assert await waiting == b"yes"
        assert (pool.open_count, upstream.connections) == (1, 2)


async def test_new_connection_is_new_even_where_one_was_waited_for() -> None:
    """Whoever asks for a new one gets the place of the next that comes free, not that one."""
    limits = UpstreamSettings(max_connections=1)
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream, limits) as pool:
        held = await checkout(pool)
        await use(held)
        waiting = asyncio.create_task(pool.connect(new=True))
        await until(lambda: len(pool._waiting) == 1)
        pool.release(held)
        fresh = await waiting
        assert (fresh.exchanges, pool.open_count, upstream.connections) == (0, 1, 2)
        pool.release(fresh)


async def test_cancelled_connect_gives_its_place_back() -> None:
    """A caller that goes away while a connection is made leaks none."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        for _ in range(20):
            connecting = asyncio.create_task(pool.connect())
            await asyncio.sleep(0)
            assert pool.open_count == 1
            connecting.cancel()
            await asyncio.wait([connecting])
            if not connecting.cancelled():  # it was faster
                pool.release(connecting.result())
            assert pool.open_count == 0


async def test_closed_pool_keeps_nothing() -> None:
    """What is idle ends at once, what is in use when it is given back."""
    async with ScriptedUpstream(respond_to_all()) as upstream, pooled(upstream) as pool:
        busy = await checkout(pool)
        await ask(pool)
        assert (pool.open_count, pool.idle_count) == (2, 1)
        pool.close()
        assert (pool.open_count, pool.idle_count) == (1, 0)
        assert await use(busy) == b"yes"
        pool.release(busy)
        assert pool.open_count == 0


# No connection at all.


async def fails(pool: Pool) -> UpstreamError:
    """Try to connect, in vain; return why."""
    with pytest.raises(UpstreamError) as caught:
        await pool.connect()
    assert pool.open_count == 0
    return caught.value


async def test_nobody_listens() -> None:
    """A refused connection is a 502 of its own kind."""
    async with ScriptedUpstream(respond_to_all()) as upstream:
        port = upstream.port
    pool = Pool(UpstreamOrigin("127.0.0.1", port, None), UpstreamSettings())
    error = await fails(pool)
    assert (error.reason, error.kind.status) == (kinds.UPSTREAM_CONNECT, 502)


async def test_name_that_does_not_resolve() -> None:
    """So is a host name that there is not."""
    pool = Pool(UpstreamOrigin("bank.invalid", 80, None), UpstreamSettings())
    error = await fails(pool)
    assert (error.reason, error.kind.status) == (kinds.UPSTREAM_RESOLVE, 502)


async def test_full_listen_queue() -> None:
    """Where connections are not taken, the connect deadline ends the wait, with a 504."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            limits = UpstreamSettings(connect_timeout=0.3)
            error = await fails(Pool(UpstreamOrigin("127.0.0.1", port, None), limits))
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
    """The port stands in Host only where it is not the scheme's own."""
    assert origin.host_header == header
