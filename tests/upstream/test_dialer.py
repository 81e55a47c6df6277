"""Connections to the bank: addresses tried one after another, through proxies of each kind."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.errors import UpstreamError, UpstreamFailure, kinds
from proxy.upstream.dialer import DEAD_AFTER, Dialer, UpstreamOrigin
from proxy.upstream.events import AddressFailed, AddressFailure, ConnectionOpened, UpstreamEvent
from proxy.upstream.resolver import AddressInfo, Resolver
from proxy.upstream.tls import client_context
from proxy.upstream.tunnel import OutboundProxy
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.connect_proxy import ConnectProxy
from tests.support.dialing import dial
from tests.support.running import until
from tests.support.socks_proxy import SocksProxy
from tests.support.upstream_server import ScriptedUpstream, hold, respond_to_all, send

EVERY_LOOP = True

SILENT, REFUSING, GOOD = "127.0.0.2", "127.0.0.3", "127.0.0.1"


@dataclass
class SeveralAddresses:
    """A name with several addresses, and what happened when connections to it were opened."""

    addresses: list[str]
    port: int
    events: list[UpstreamEvent] = field(default_factory=list)

    def look_up(self, host: str, port: int) -> list[AddressInfo]:
        """Answer as DNS would."""
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, self.port))
            for address in self.addresses
        ]

    def dialer(self, tls: ssl.SSLContext | None = None, timeout: float = 5) -> Dialer:
        """Return what opens connections to it."""
        return Dialer(
            UpstreamOrigin("bank.test", self.port, tls),
            UpstreamSettings(connect_timeout=timeout, dns_ttl=0),
            Resolver(lambda event: None, self.look_up),
            self.events.append,
        )

    @property
    def failed(self) -> list[tuple[str, AddressFailure, str]]:
        """Return address, reason and address used instead of each failure."""
        return [
            (event.address.partition(":")[0], event.reason, event.used.partition(":")[0])
            for event in self.events
            if isinstance(event, AddressFailed)
        ]


@contextmanager
def swallowing(port: int) -> Iterator[None]:
    """Let nothing come of connections to ``SILENT``: its queue of them is full."""
    with socket.create_server((SILENT, port), backlog=0):
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex((SILENT, port))
        try:
            yield
        finally:
            for sock in waiting:
                sock.close()


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A bank on 127.0.0.1."""
    async with ScriptedUpstream(respond_to_all(b"yes")) as upstream:
        yield upstream


async def peer(dialer: Dialer) -> str:
    """Open a connection; return whom it leads to."""
    _, writer = await dial(dialer)
    host: str = writer.get_extra_info("peername")[0]
    writer.transport.abort()
    return host


async def test_dead_first_address(upstream: ScriptedUpstream) -> None:
    """The second is tried soon, and is the first from then on: the dead one is left alone."""
    bank = SeveralAddresses([SILENT, GOOD], upstream.port)
    with swallowing(upstream.port):
        dialer = bank.dialer(timeout=60)
        assert [await peer(dialer) for _ in range(3)] == [GOOD] * 3
    assert bank.failed == [(SILENT, AddressFailure.NO_ANSWER, GOOD)]
    opened = [event for event in bank.events if isinstance(event, ConnectionOpened)]
    assert len(opened) == 3


async def test_refusing_first_address(upstream: ScriptedUpstream) -> None:
    """The next is tried at once, and the refusing one comes last afterwards."""
    bank = SeveralAddresses([REFUSING, GOOD], upstream.port)
    dialer = bank.dialer()
    assert [await peer(dialer) for _ in range(3)] == [GOOD] * 3
    assert bank.failed == [(REFUSING, AddressFailure.REFUSED, GOOD)]


async def test_address_that_has_gone_from_the_name(upstream: ScriptedUpstream) -> None:
    """The one that worked is used no longer when the name has it no more."""
    bank = SeveralAddresses([GOOD], upstream.port)
    dialer = bank.dialer()
    assert await peer(dialer) == GOOD
    bank.addresses = [REFUSING]
    with pytest.raises(UpstreamError):
        await dial(dialer)


async def test_address_that_stops_working(upstream: ScriptedUpstream) -> None:
    """The other one takes its place."""
    bank = SeveralAddresses([GOOD, REFUSING], upstream.port)
    dialer = bank.dialer()
    assert await peer(dialer) == GOOD
    await upstream.__aexit__(None, None, None)
    server = await asyncio.start_server(lambda _, writer: writer.close(), REFUSING, upstream.port)
    async with server:
        assert [await peer(dialer) for _ in range(2)] == [REFUSING] * 2
    assert bank.failed == [(GOOD, AddressFailure.REFUSED, REFUSING)]


@pytest.mark.parametrize(
    ("addresses", "kind", "tried"),
    [
        ([REFUSING], kinds.UPSTREAM_CONNECT, "127.0.0.3:{0} (connection refused)"),
        ([SILENT], kinds.UPSTREAM_CONNECT_TIMEOUT, "127.0.0.2:{0} (no answer)"),
        (
            [SILENT, REFUSING],
            kinds.UPSTREAM_CONNECT,
            "127.0.0.2:{0} (no answer), 127.0.0.3:{0} (connection refused)",
        ),
    ],
)
async def test_no_address_works(addresses: list[str], kind: UpstreamFailure, tried: str) -> None:
    """The error names each address that was tried, and what it did."""
    with socket.create_server((GOOD, 0)) as unused:
        port = unused.getsockname()[1]
    bank = SeveralAddresses(addresses, port)
    with swallowing(port), pytest.raises(UpstreamError) as caught:
        await dial(bank.dialer(timeout=0.5))
    assert caught.value.reason is kind
    assert caught.value.detail == f"{kind.cause} Tried: {tried.format(port)}."
    assert [used for _, _, used in bank.failed] == [""] * len(addresses)


async def test_name_that_takes_too_long() -> None:
    """A look-up that hangs ends with the deadline, and is told apart from a dead address."""
    answer = asyncio.get_running_loop().create_future()

    class Hanging(Resolver):
        async def resolve(
            self, host: str, port: int, *, ttl: float, max_stale: float
        ) -> list[AddressInfo]:
            await answer
            return []

    settings = UpstreamSettings(connect_timeout=0.05)
    with pytest.raises(UpstreamError) as caught:
        await dial(Dialer(UpstreamOrigin("bank.test", 443, None), settings, Hanging()))
    assert caught.value.reason is kinds.UPSTREAM_RESOLVE_TIMEOUT


async def test_address_whose_handshake_fails(authority: OpensslAuthority) -> None:
    """The error names it, and the next connection tries the other one first."""
    context = server_context(authority.issue("bank", "DNS:bank.test"))
    async with ScriptedUpstream(respond_to_all(), tls=context) as upstream:
        bank = SeveralAddresses([REFUSING, GOOD], upstream.port)
        plain = await asyncio.start_server(lambda r, w: w.close(), REFUSING, upstream.port)
        dialer = bank.dialer(client_context(authority.file))
        async with plain:
            with pytest.raises(UpstreamError, match=f"The address was {REFUSING}:{upstream.port}"):
                await dial(dialer)
            assert await peer(dialer) == GOOD
        assert bank.failed == [(REFUSING, AddressFailure.TLS, "")]
        await until(lambda: upstream.open == 0)


async def test_connection_to_a_dead_machine_ends(upstream: ScriptedUpstream) -> None:
    """The system probes idle connections, and gives up on bytes that nobody acknowledges."""
    _, writer = await dial(SeveralAddresses([GOOD], upstream.port).dialer())
    sock = writer.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for name, value in (("TCP_USER_TIMEOUT", DEAD_AFTER * 1000), ("TCP_KEEPIDLE", 30)):
        if hasattr(socket, name):
            assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
    writer.transport.abort()


# Through a proxy, with TLS to the bank inside.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """Who vouches for the bank, and for a proxy that speaks TLS."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


async def exchange(dialer: Dialer) -> bytes:
    """Send a request and return the response."""
    reader, writer = await dial(dialer)
    writer.write(b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n")
    response = await reader.readuntil(b"yes")
    writer.transport.abort()
    return response


def through(proxy: OutboundProxy, port: int, tls: ssl.SSLContext | None, **more: float) -> Dialer:
    """Return what connects to ``localhost:port`` through a proxy."""
    return Dialer(UpstreamOrigin("localhost", port, tls, proxy), UpstreamSettings(**more))  # type: ignore[arg-type]  # numbers


@pytest.mark.parametrize("login", ["", "me:pa:ss"])
@pytest.mark.parametrize("has_tls", [False, True])
async def test_socks_proxy(authority: OpensslAuthority, login: str, has_tls: bool) -> None:
    """``socks5h`` hands the name on, ``socks5`` an address; with a login or without."""
    certificate = authority.issue("bank", "DNS:localhost")
    server, client = (
        (server_context(certificate), client_context(authority.file)) if has_tls else (None, None)
    )
    user, _, password = login.partition(":")
    async with (
        ScriptedUpstream(respond_to_all(b"yes"), tls=server) as upstream,
        SocksProxy(login) as socks,
    ):
        for scheme in ("socks5h", "socks5"):
            proxy = OutboundProxy("127.0.0.1", socks.port, user, password, scheme)
            assert b"200 OK" in await exchange(through(proxy, upstream.port, client))
        (name, _), (address, _) = socks.asked
        assert (name, address in ("127.0.0.1", "::1")) == ("localhost", True)


@pytest.mark.parametrize(
    ("login", "reply", "kind", "detail"),
    [
        ("me:other", 0, kinds.UPSTREAM_PROXY_LOGIN, ""),
        ("me:right", 2, kinds.UPSTREAM_PROXY_REFUSED, "(connection not allowed by ruleset)"),
        ("me:right", 5, kinds.UPSTREAM_PROXY_NO_CONNECTION, "(connection refused)"),
        ("me:right", 99, kinds.UPSTREAM_PROXY_MALFORMED, ""),
    ],
)
async def test_socks_proxy_that_fails(
    login: str, reply: int, kind: UpstreamFailure, detail: str
) -> None:
    """What it did instead can be told from reason and detail."""
    async with SocksProxy(login, reply) as socks:
        proxy = OutboundProxy("127.0.0.1", socks.port, "me", "right", "socks5h")
        with pytest.raises(UpstreamError) as caught:
            await dial(through(proxy, 1, None))
        assert caught.value.reason is kind
        assert detail in caught.value.detail
        nobody = OutboundProxy("127.0.0.1", socks.port, scheme="socks5h")
        with pytest.raises(UpstreamError) as caught:
            await dial(through(nobody, 1, None))
        assert caught.value.reason is kinds.UPSTREAM_PROXY_LOGIN
        long = OutboundProxy("127.0.0.1", socks.port, "me", "x" * 256, "socks5h")
        with pytest.raises(UpstreamError) as caught:
            await dial(through(long, 1, None))
        assert caught.value.reason is kinds.UPSTREAM_PROXY_LOGIN


async def test_socks_proxy_that_reaches_one_address() -> None:
    """The bank's other addresses are tried, and the one that works is used first from then on."""
    async with (
        ScriptedUpstream(respond_to_all(b"yes")) as upstream,
        SocksProxy(unreachable="2001:db8::1") as socks,
    ):
        addresses: list[AddressInfo] = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", upstream.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (GOOD, upstream.port)),
        ]
        proxy = OutboundProxy("127.0.0.1", socks.port, scheme="socks5")
        dialer = Dialer(
            UpstreamOrigin("bank.test", upstream.port, None, proxy),
            UpstreamSettings(),
            Resolver(lookup=lambda host, port: addresses),
        )
        for _ in range(2):
            assert b"200 OK" in await exchange(dialer)
        assert [host for host, _ in socks.asked] == ["2001:db8::1", GOOD, GOOD]
        with pytest.raises(UpstreamError, match="host unreachable") as caught:
            await dial(Dialer(UpstreamOrigin("2001:db8::1", 1, None, proxy), UpstreamSettings()))
        assert caught.value.reason is kinds.UPSTREAM_PROXY_NO_CONNECTION


async def test_http_server_called_as_socks_proxy() -> None:
    """Its answer is none of SOCKS."""
    async with ConnectProxy(response=b"HTTP/1.1 400 What?\r\n\r\n") as company:
        proxy = OutboundProxy("127.0.0.1", company.port, scheme="socks5h")
        with pytest.raises(UpstreamError) as caught:
            await dial(through(proxy, 1, None, connect_timeout=0.5))
        expected = {kinds.UPSTREAM_PROXY_MALFORMED, kinds.UPSTREAM_PROXY_TIMEOUT}
        assert caught.value.reason in expected


@pytest.mark.parametrize("has_tls", [False, True])
async def test_proxy_that_speaks_tls(authority: OpensslAuthority, has_tls: bool) -> None:
    """TLS to the proxy, and inside it TLS to the bank: the proxy's login is sent encrypted."""
    context = server_context(authority.issue("both", "DNS:localhost", "IP:127.0.0.1"))
    trust = client_context(authority.file)
    async with (
        ScriptedUpstream(respond_to_all(b"yes"), tls=context if has_tls else None) as upstream,
        ConnectProxy(login="me:word", tls=context) as company,
    ):
        proxy = OutboundProxy("127.0.0.1", company.port, "me", "word", "https", trust)
        dialer = through(proxy, upstream.port, trust if has_tls else None)
        assert b"200 OK" in await exchange(dialer)
        assert len(company.heads) == 1


async def test_proxy_whose_certificate_is_not_trusted(
    authority: OpensslAuthority, tmp_path: Path
) -> None:
    """It is told apart from the bank's, and gets no password."""
    stranger = OpensslAuthority.make(tmp_path, "stranger")
    context = server_context(stranger.issue("proxy", "IP:127.0.0.1"))
    async with ConnectProxy(tls=context) as company:
        trust = client_context(authority.file)
        proxy = OutboundProxy("127.0.0.1", company.port, "me", "word", "https", trust)
        with pytest.raises(UpstreamError, match="unable to get local issuer") as caught:
            await dial(through(proxy, 1, None))
        assert caught.value.reason is kinds.UPSTREAM_PROXY_TLS
        assert company.heads == []


async def test_proxy_without_tls_is_not_called_the_bank() -> None:
    """Where its URL says https, the error tells OpenSSL's reason and the proxy's address."""
    async with ScriptedUpstream([send(b"HTTP/1.1 400 What?\r\n\r\n"), hold()]) as company:
        proxy = OutboundProxy("127.0.0.1", company.port, scheme="https", tls=client_context(None))
        with pytest.raises(UpstreamError) as caught:
            await dial(through(proxy, 1, None))
        assert caught.value.detail == (
            "The TLS handshake with the outbound proxy failed (wrong version number). "
            f"The address was 127.0.0.1:{company.port}."
        )


async def test_proxy_whose_first_address_hangs() -> None:
    """It accepts connections and is silent; the next connection is opened by another address."""
    async with (
        ScriptedUpstream(respond_to_all(b"yes")) as upstream,
        ConnectProxy(silent=True, host=REFUSING) as hanging,
        ConnectProxy(port=hanging.port),
    ):
        company = SeveralAddresses([REFUSING, GOOD], hanging.port)
        proxy = OutboundProxy("proxy.test", hanging.port)
        dialer = Dialer(
            UpstreamOrigin("127.0.0.1", upstream.port, None, proxy),
            UpstreamSettings(connect_timeout=0.3),
            Resolver(lookup=company.look_up),
            company.events.append,
        )
        with pytest.raises(UpstreamError, match=f"address was {REFUSING}") as caught:
            await dial(dialer)
        assert caught.value.reason is kinds.UPSTREAM_PROXY_TIMEOUT
        assert company.failed == [(REFUSING, AddressFailure.NO_ANSWER, "")]
        assert b"200 OK" in await exchange(dialer)


async def test_handshake_behind_a_proxy(authority: OpensslAuthority) -> None:
    """A bank that hangs in the handshake, or shows a wrong certificate, is no proxy's fault."""
    trust = client_context(authority.file)
    wrong = server_context(authority.issue("bank", "DNS:elsewhere.test"))
    async with (
        ScriptedUpstream([hold()]) as silent,
        ScriptedUpstream(respond_to_all(), tls=wrong) as other,
        ConnectProxy() as company,
    ):
        proxy = OutboundProxy("127.0.0.1", company.port)
        for port, kind in (
            (silent.port, kinds.UPSTREAM_TLS_TIMEOUT),
            (other.port, kinds.UPSTREAM_TLS_NAME),
        ):
            with pytest.raises(UpstreamError, match=f"outbound proxy {proxy}") as caught:
                await dial(through(proxy, port, trust, connect_timeout=1))
            assert caught.value.reason is kind
        await until(lambda: company.open == 0)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_proxy_is_shown_without_its_login(scheme: str) -> None:
    """As a text and as a repr."""
    proxy = OutboundProxy("::1", 3128, "me", "hidden", scheme)
    assert str(proxy) == f"{scheme}://[::1]:3128"
    assert "hidden" not in repr(proxy) + str(proxy)
