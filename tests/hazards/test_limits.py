"""Callers that take what they can: connections, handshakes, memory, the way to the bank."""

import asyncio
import functools
import gc
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from proxy.admin.admin_server import LIMITS
from proxy.http1.bounded_cache import BoundedCache
from proxy.runtime.app import App
from proxy.server.address import Address
from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test
from tests.support.certificates import OpensslAuthority
from tests.support.raw_client import GET, RawConnection, connect, connected
from tests.support.running import until
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
async def test_admin_port_is_bounded(here: ProxyUnderTest, sent: bytes) -> None:
    """Many connections to it leave room for a probe, and take nothing from the data port."""
    admin = AdminPort(here.app)
    async with connected(admin, LIMITS.max_connections * 3) as wires:
        for wire in wires[-LIMITS.max_connections :]:
            await wire.send(sent)
        async with connect(admin) as probe:
            assert (await probe.ask(LIVEZ)).status == 200
        assert await wires[0].read_to_end() == b""
        assert refused(here.app, "connections", "admin") >= LIMITS.max_connections
    assert "as many callers of the admin port as may be" in here.log


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: %b\r\n" % (b"a" * 4000) * 10,
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 48_000,
        b"GET /" + b"a" * 48_000,
    ],
    ids=["many headers", "long header", "long target"],
)
async def test_admin_port_reads_no_large_head(here: ProxyUnderTest, head: bytes) -> None:
    """It is refused before its end."""
    async with connect(AdminPort(here.app)) as wire:
        await wire.send(head)
        assert (await wire.reader.readline()).startswith((b"HTTP/1.1 431", b"HTTP/1.1 414"))


async def test_data_port_that_is_full_leaves_the_probes() -> None:
    """Liveness is asked on a port with room of its own."""
    async with (
        proxy_under_test(limits={"max_connections": "2"}) as here,
        connected(here.app, 60),
        connect(AdminPort(here.app)) as probe,
    ):
        assert (await probe.ask(LIVEZ)).status == 200


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """Who vouches for the listener."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def over_tls(authority: OpensslAuthority, **limits: str) -> AsyncIterator[ProxyUnderTest]:
    """Run a proxy with a second listener, ``tls``."""
    certificate = authority.issue("port", "IP:127.0.0.1", file="port")
    callers = {"certificate_file": str(certificate), "client_ca_file": str(authority.file)}
    listeners = {"tls": {"listen": "127.0.0.1:0", "callers": callers}}
    async with proxy_under_test(listeners=listeners, limits=limits) as here:
        yield here


class TlsPort:
    """The listener ``tls`` of a proxy, as something to connect to without TLS."""

    def __init__(self, here: ProxyUnderTest) -> None:
        self.data_address = here.app.addresses["tls"]


@asynccontextmanager
async def tls_caller(
    here: ProxyUnderTest, authority: OpensslAuthority, folder: Path
) -> AsyncIterator[RawConnection]:
    """Connect with a certificate that the listener accepts."""
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(authority.issue("caller", "DNS:caller", file=f"caller-{folder.name}"))
    address = here.app.addresses["tls"]
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
    """They wait in the system; those that take longer than a second make room."""
    async with over_tls(authority, max_handshakes="4") as here, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connect(TlsPort(here))) for _ in range(12)]
        for wire in wires:
            await wire.send(sent)
        async with tls_caller(here, authority, tmp_path) as honest:
            assert (await honest.ask(GET)).status == 200
        assert refused(here.app, "handshake", "tls") >= 9
        assert here.app.connection_count <= 1
        assert await wires[0].read_to_end() == b""
    assert "TLS handshakes of listener tls fail or take too long" in here.log


async def test_unfinished_handshake_has_a_deadline(authority: OpensslAuthority) -> None:
    """Of limits.header_timeout, like a head."""
    async with (
        over_tls(authority, header_timeout="0.3") as here,
        connect(TlsPort(here)) as silent,
        connect(TlsPort(here)) as half,
    ):
        await half.send(HELLO)
        assert await silent.read_to_end() == b""
        assert await half.read_to_end() == b""
        await until(lambda: refused(here.app, "handshake", "tls") == 2)
    assert "(timeout)" in here.log


async def test_burst_of_handshakes_is_served(authority: OpensslAuthority, tmp_path: Path) -> None:
    """More honest callers at once than there may be handshakes wait a moment for each other."""
    async with over_tls(authority, max_handshakes="2") as here, AsyncExitStack() as stack:
        calls = [
            stack.enter_async_context(tls_caller(here, authority, tmp_path)) for _ in range(10)
        ]
        for wire in await asyncio.gather(*calls):
            assert (await wire.ask(GET)).status == 200
        assert refused(here.app, "handshake", "tls") == 0


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
    here: ProxyUnderTest, lines: Callable[[int], bytes]
) -> None:
    """What a caller makes up is not kept after its request."""
    async with connect(here.app) as wire:
        await wire.ask(lines(0) + b"\r\n")
        before = lru_entries()
        for number in range(1, 50):
            await wire.ask(lines(number) + b"\r\n")
    assert lru_entries() <= before
    keys = [key for one in gc.get_objects() if isinstance(one, BoundedCache) for key in one]
    assert max(len(str(key)) for key in keys) < 200


def lru_entries() -> int:
    """Return how many results every ``lru_cache`` of the program holds."""
    caches = [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]
    ours = [one for one in caches if str(one.__module__).startswith("proxy.")]
    return sum(one.cache_info().currsize for one in ours if "sandbox" not in str(one.__module__))
