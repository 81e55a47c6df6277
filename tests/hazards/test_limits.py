"""Callers that take what they can: connections, handshakes, memory, the way to the bank."""

import asyncio
import functools
import gc
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from proxy.admin.admin_server import LIMITS
from proxy.errors import ConfigError
from proxy.http1.bounded_cache import BoundedCache
from proxy.runtime.app import App
from proxy.sandbox import Fault
from proxy.server.address import Address
from proxy.server.messages import Request
from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test
from tests.support.certificates import OpensslAuthority
from tests.support.raw_client import GET, RawConnection, ask, connect, connected, request
from tests.support.running import make_app, running, until
from tests.telemetry.metrics.reading import value

EVERY_LOOP = True

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


class AdminPort:
    """The admin port of a proxy, as something to connect to."""

    def __init__(self, app: App) -> None:
        self.data_address: Address = app.admin_address


def refused(app: App, reason: str, listener: str = "main") -> float:
    """Return how many connections were refused for a reason."""
    name = "caller_connections_refused_total"
    return value(app.metrics, name, listener=listener, reason=reason) or 0.0


# The admin port.


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez HTTP/1.1\r\nX-A: ",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 7000,
    ],
    ids=["silent", "half a head", "long half a head"],
)
async def test_admin_port_is_bounded(proxy: ProxyUnderTest, sent: bytes) -> None:
    """Many connections to it leave room for a probe, and take nothing from the data port."""
    admin = AdminPort(proxy.app)
    async with connected(admin, LIMITS.max_connections * 3) as wires:
        for wire in wires[-LIMITS.max_connections :]:
            await wire.send(sent)
        async with connect(admin) as probe:
            assert (await probe.ask(LIVEZ)).status == 200
        assert await wires[0].read_to_end() == b""
        assert refused(proxy.app, "connections", "admin") >= LIMITS.max_connections
    assert "as many callers of the admin port as may be" in proxy.log


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: %b\r\n" % (b"a" * 4000) * 10,
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 48_000,
        b"GET /" + b"a" * 48_000,
    ],
    ids=["many headers", "long header", "long target"],
)
async def test_admin_port_reads_no_large_head(proxy: ProxyUnderTest, head: bytes) -> None:
    """It is refused before its end."""
    async with connect(AdminPort(proxy.app)) as wire:
        await wire.send(head)
        assert (await wire.reader.readline()).startswith((b"HTTP/1.1 431", b"HTTP/1.1 414"))


async def test_data_port_that_is_full_leaves_the_probes() -> None:
    """Liveness is asked on a port with room of its own."""
    async with (
        proxy_under_test(limits={"max_connections": "2"}) as proxy,
        connected(proxy.app, 60),
        connect(AdminPort(proxy.app)) as probe,
    ):
        assert (await probe.ask(LIVEZ)).status == 200


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """The authority of the listener's certificate."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def over_tls(authority: OpensslAuthority, **limits: str) -> AsyncIterator[ProxyUnderTest]:
    """Run a proxy with a second listener, ``tls``."""
    certificate = authority.issue("port", "IP:127.0.0.1", file="port")
    callers = {"certificate_file": str(certificate), "client_ca_file": str(authority.file)}
    listeners = {"tls": {"listen": "127.0.0.1:0", "callers": callers}}
    async with proxy_under_test(listeners=listeners, limits=limits) as proxy:
        yield proxy


class TlsPort:
    """The listener ``tls`` of a proxy, as something to connect to without TLS."""

    def __init__(self, proxy: ProxyUnderTest) -> None:
        self.data_address = proxy.app.addresses["tls"]


@asynccontextmanager
async def tls_caller(
    proxy: ProxyUnderTest, authority: OpensslAuthority, folder: Path
) -> AsyncIterator[RawConnection]:
    """Connect with a certificate that the listener accepts."""
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(authority.issue("caller", "DNS:caller", file=f"caller-{folder.name}"))
    address = proxy.app.addresses["tls"]
    wire = RawConnection(*await asyncio.open_connection(address.host, address.port, ssl=context))
    try:
        yield wire
    finally:
        wire.writer.transport.abort()
        await asyncio.sleep(0)


HELLO = bytes.fromhex("16030102000100")
"""The beginning of a TLS record of 512 bytes with a ClientHello in it (RFC 8446 section 5.1)."""


@pytest.mark.parametrize(
    "sent",
    [b"", HELLO, HELLO + b"\x00" * 500],
    ids=["silent", "half a ClientHello", "most of a ClientHello"],
)
async def test_unfinished_handshakes_are_bounded(
    authority: OpensslAuthority, tmp_path: Path, sent: bytes
) -> None:
    """They wait in the system; slow ones make room."""
    async with over_tls(authority, max_handshakes="4") as proxy, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connect(TlsPort(proxy))) for _ in range(12)]
        for wire in wires:
            await wire.send(sent)
        async with tls_caller(proxy, authority, tmp_path) as honest:
            assert (await honest.ask(GET)).status == 200
        assert refused(proxy.app, "handshake", "tls") >= 9
        assert proxy.app.connection_count <= 1
        await wires[0].ends_with_reset()  # or without; it ends
    assert "TLS handshakes of listener tls fail or take too long" in proxy.log


async def test_unfinished_handshake_has_a_deadline(authority: OpensslAuthority) -> None:
    """Of limits.header_timeout, like a head."""
    async with (
        over_tls(authority, header_timeout="0.3") as proxy,
        connect(TlsPort(proxy)) as silent,
        connect(TlsPort(proxy)) as half,
    ):
        await half.send(HELLO)
        assert await silent.read_to_end() == b""
        await half.ends_with_reset()  # or without; it ends
        await until(lambda: refused(proxy.app, "handshake", "tls") == 2)
    assert "(timeout)" in proxy.log


async def test_burst_of_handshakes_is_served(authority: OpensslAuthority, tmp_path: Path) -> None:
    """More honest callers at once than there may be handshakes wait a moment for each other."""
    async with over_tls(authority, max_handshakes="2") as proxy, AsyncExitStack() as stack:
        calls = [
            stack.enter_async_context(tls_caller(proxy, authority, tmp_path)) for _ in range(10)
        ]
        for wire in await asyncio.gather(*calls):
            assert (await wire.ask(GET)).status == 200
        assert refused(proxy.app, "handshake", "tls") == 0


# Caches.


@pytest.mark.parametrize(
    "lines",
    [
        lambda number: b"GET /%b%d HTTP/1.1\r\nHost: localhost\r\n" % (b"p" * 8000, number),
        lambda number: (
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\n%b%d: x\r\n" % (b"n" * 8000, number)
        ),
        lambda number: b"GET /echo HTTP/1.1\r\nHost: %b%d\r\n" % (b"h" * 8000, number),
        lambda number: (
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: %b%d\r\n" % (b"c" * 8000, number)
        ),
        lambda number: b"GET http://%b%d/ HTTP/1.1\r\nHost: localhost\r\n" % (b"a" * 8000, number),
    ],
    ids=["paths", "header names", "hosts", "connection options", "authorities"],
)
async def test_caches_keep_no_long_keys(
    proxy: ProxyUnderTest, lines: Callable[[int], bytes]
) -> None:
    """What a caller makes up is not kept after its request."""
    async with connect(proxy.app) as wire:
        await wire.ask(lines(0) + b"\r\n")
        before = lru_entries()
        for number in range(1, 50):
            await wire.ask(lines(number) + b"\r\n")
    assert lru_entries() <= before
    gc.unfreeze()  # a proxy that ended in this process has frozen what there was
    keys = [key for one in gc.get_objects() if isinstance(one, BoundedCache) for key in one]
    assert max(len(str(key)) for key in keys) < 200


def lru_entries() -> int:
    """Return how many results every ``lru_cache`` of the program holds."""
    gc.unfreeze()
    caches = [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]
    ours = [one for one in caches if str(one.__module__).startswith("proxy.")]
    return sum(one.cache_info().currsize for one in ours if "sandbox" not in str(one.__module__))


# Memory.

MIB = 1_048_576
LONG_LINES = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 7000) for number in range(8))
UNFINISHED = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n" + LONG_LINES
SLOW = request("GET", "/slow?seconds=2")


@pytest.mark.parametrize(
    "blocks",
    [
        (UNFINISHED,),
        (SLOW, (UNFINISHED + b"\r\n") * 4),
        (SLOW + GET * 3000,),
        (request("POST", "/upload", "Content-Length: 1000000") + b"x" * 200_000,),
        (request("POST", "/upload", "Content-Length: 60000") + b"x" * 60_000,),
        (request("POST", "/upload", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 20_000,),
    ],
    ids=["heads", "pipelined heads", "small requests", "bodies", "whole bodies", "chunks"],
)
async def test_input_is_held_within_the_budget(blocks: tuple[bytes, ...]) -> None:
    """Over it the largest are refused with 503, and others are served."""
    limits = {"max_memory": "1MiB", "half_close_timeout": "0.2"}
    upstream = {"max_connections": "4"}
    async with proxy_under_test(limits=limits, upstream=upstream) as proxy:
        async with connected(proxy.app, 40) as wires, connect(proxy.app) as honest:
            if b"upload" in blocks[0]:
                fault = Fault("resource", hang=True, unread=True, path_prefix="/upload")
                proxy.bank.faults.append(fault)
            await honest.send(b"GET /ec")
            for wire in wires:
                wire.writer.write(blocks[0])
            await asyncio.sleep(0.2)
            for wire in wires:
                wire.writer.write(b"".join(blocks[1:]))
            await until(lambda: refused(proxy.app, "memory") > 1)
            held = value(proxy.app.metrics, "caller_memory_bytes") or 0
            assert held <= 1.2 * MIB
            await honest.send(b"ho HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if blocks[0] is UNFINISHED:
                assert (await honest.read_response()).status == 200
                assert (await wires[0].read_response()).error == "memory"
                assert await wires[0].read_to_end() == b""
        proxy.bank.faults.clear()
        await until(lambda: proxy.app.connection_count == 0)
        await until(lambda: proxy.app.forwarder.in_flight == 0)
        await until(lambda: proxy.app.pool.open_count == proxy.app.pool.idle_count)
        assert value(proxy.app.metrics, "caller_memory_bytes") == 0
        assert "callers hold limits.max_memory" in proxy.log


async def test_idle_connections_hold_no_request(proxy: ProxyUnderTest) -> None:
    """The last request of a connection and its response are freed before the next one comes."""
    async with connected(proxy.app, 10) as wires:
        for wire in wires:
            assert (await wire.ask(UNFINISHED + b"\r\n")).status == 200
        await until(lambda: proxy.app.forwarder.in_flight == 0)
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Request)]


async def test_pipelined_requests_are_all_answered(proxy: ProxyUnderTest) -> None:
    """However many there are, as long as the caller reads."""
    async with connect(proxy.app) as wire:
        await wire.send(GET * 200)
        for _ in range(200):
            assert (await wire.read_response()).status == 200


# The way to the bank.


class Kiosk:
    """The listener ``kiosk`` of a proxy, as something to connect to."""

    def __init__(self, proxy: ProxyUnderTest) -> None:
        self.data_address = proxy.app.addresses["kiosk"]


@asynccontextmanager
async def two_listeners(**upstream: str) -> AsyncIterator[ProxyUnderTest]:
    """Run a proxy with 8 connections to the bank for two listeners."""
    async with proxy_under_test(
        listeners={"kiosk": {"listen": "127.0.0.1:0"}},
        upstream={"max_connections": "8", "max_wait": "1", **upstream},
        limits={"half_close_timeout": "0.1"},
    ) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "data",
    [
        request("POST", "/upload", "Content-Length: 100") + b"x",
        request("GET", "/slow?seconds=20"),
        request("GET", "/download?bytes=100000000"),
    ],
    ids=["slow uploads", "slow responses", "slow readers"],
)
async def test_listener_keeps_its_share_of_the_pool(data: bytes) -> None:
    """However many connections to the bank another listener would take."""
    async with two_listeners() as proxy, connected(proxy.app, 30) as wires:
        for wire in wires:
            wire.stop_reading()
            await wire.send(data)
        await until(lambda: len(proxy.bank.arrivals) >= 6)
        async with connected(Kiosk(proxy), 2) as others:
            for _ in range(5):
                for other in others:
                    assert (await other.ask(GET)).status == 200
        assert proxy.app.pool.shares[0].in_use <= 6
        for wire in wires:
            wire.reset()
        await until(lambda: proxy.app.connection_count == 0)
        await until(lambda: proxy.app.forwarder.in_flight == 0)


async def test_listener_keeps_its_share_of_the_queue() -> None:
    """A full queue of another listener does not refuse its requests."""
    async with (
        two_listeners(max_waiting="8", max_wait="10") as proxy,
        connected(proxy.app, 30) as wires,
        connected(Kiosk(proxy), 3) as others,
    ):
        for wire in wires:
            await wire.send(request("GET", "/slow?seconds=1"))
        await until(lambda: proxy.app.pool.waiting_count >= 4)
        for other in others:
            await other.send(request("GET", "/slow?seconds=0.1"))
        assert [(await other.read_response()).status for other in others] == [200] * 3
        statuses = [(await wire.read_response()).status for wire in wires]
        assert statuses.count(503) >= 10


async def test_single_listener_has_the_whole_pool() -> None:
    """Nothing is reserved for other listeners."""
    async with (
        proxy_under_test(upstream={"max_connections": "4"}) as proxy,
        connected(proxy.app, 4) as wires,
    ):
        for wire in wires:
            await wire.send(request("GET", "/slow?seconds=0.5"))
        await until(lambda: proxy.app.pool.open_count == 4)
        assert [(await wire.read_response()).status for wire in wires] == [200] * 4


# Loops.


async def test_proxy_at_its_own_address() -> None:
    """The request is refused when it comes back, whatever its method, and takes one connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConfigError, match="base_url: this is the proxy's own address"):
        make_app(f"http://127.0.0.1:{port}", listen=f"127.0.0.1:{port}", bearer_token="x")
    with pytest.raises(ConfigError, match=r"this is the proxy's own address \(admin\)"):
        make_app(f"http://localhost:{port}", admin=f"127.0.0.1:{port}", bearer_token="x")
    # By a name that the configuration does not show to be this machine.
    url = f"http://{socket.gethostname()}:{port}"
    options = {"listen": f"0.0.0.0:{port}", "bearer_token": "x", "trust_network": "true"}
    async with running(url, ready=False, **options) as app:
        for data in (GET, request("POST", "/v1/transfers", body=b"x"), request("DELETE", "/a")):
            response = await ask(LocalPort(port), data)
            assert (response.status, response.json()["type"][-5:]) == (508, ":loop")
        assert app.pool.opened_count <= 3


async def test_two_proxies_at_each_other() -> None:
    """The first refuses what comes back from the second."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    one, other = ports
    first, second = f"127.0.0.1:{one}", f"127.0.0.1:{other}"
    async with (
        running(f"http://{second}", ready=False, listen=first, bearer_token="x"),
        running(f"http://{first}", ready=False, listen=second, bearer_token="x"),
    ):
        response = await ask(LocalPort(one), GET)
        assert (response.status, response.json()["type"][-5:]) == (508, ":loop")


async def test_proxy_behind_another_is_no_loop() -> None:
    """A ``Via`` of somebody else passes, and ours is behind it."""
    async with proxy_under_test() as proxy:
        data = request("GET", "/echo", "Via: 1.0 fred, 1.1 candescent-proxy-0000000000000000")
        assert (await ask(proxy.app, data)).status == 200
        first, last = proxy.bank.arrivals[-1].all("Via")
        assert first == "1.0 fred, 1.1 candescent-proxy-0000000000000000"
        assert re.fullmatch(r"1\.1 candescent-proxy-[0-9a-f]{16}", last)


class LocalPort:
    """A port of this machine, as something to connect to."""

    def __init__(self, port: int) -> None:
        self.data_address = Address("127.0.0.1", port)
