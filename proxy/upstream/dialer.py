"""Opens connections to the bank: the one way that requests, token calls and the doctor use.

::

    look up the name  →  try its addresses  →  outbound proxy, if there is one  →  TLS

Addresses are tried after RFC 8305: the next one when there is no answer after ``NEXT_AFTER``, the
one that last worked first.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import aiohappyeyeballs

from proxy.errors import ProxyError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.events import (
    AddressFailed,
    AddressFailure,
    ConnectionOpened,
    UpstreamEventSink,
    ignore,
)
from proxy.upstream.failures import connect_error, is_out_of_files
from proxy.upstream.resolver import AddressInfo, Resolver, SocketAddress
from proxy.upstream.tls import tls_reason
from proxy.upstream.tunnel import Negotiation, OutboundProxy
from proxy.upstream.upstream_settings import UpstreamSettings

P = TypeVar("P", bound=asyncio.Protocol)

NEXT_AFTER = 0.25
"""Seconds after which the next address is tried (RFC 8305 section 5 recommends this)."""

DEAD_AFTER = 60
"""Seconds without an answer from the other machine after which the system ends a connection."""

_TCP_OPTIONS = {
    "TCP_KEEPIDLE": DEAD_AFTER // 2,
    "TCP_KEEPALIVE": DEAD_AFTER // 2,  # macOS' name of the same
    "TCP_KEEPINTVL": DEAD_AFTER // 6,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": DEAD_AFTER * 1000,
}

_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


@dataclass(frozen=True, slots=True)
class UpstreamOrigin:
    """Where every request goes. ``tls`` None means plain HTTP, which only a sandbox speaks.

    With ``proxy``, connections lead through a company's proxy.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: OutboundProxy | None = None

    @property
    def host_header(self) -> bytes:
        """The value of ``Host``: with the port only where it is not the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.tls else 80
        return (name if self.port == usual else f"{name}:{self.port}").encode("ascii")


class ConnectError(UpstreamError):
    """No connection. ``tried`` is a sentence with the addresses and what each did."""

    def __init__(self, reason: UpstreamFailure, detail: str = "", tried: str = "") -> None:
        detail = detail or reason.cause
        super().__init__(reason, f"{detail} {tried}" if tried else detail)
        self.tried = tried


class Dialer:
    """Opens connections to one origin, within one event loop."""

    def __init__(
        self,
        origin: UpstreamOrigin,
        settings: UpstreamSettings,
        resolver: Resolver | None = None,
        emit: UpstreamEventSink = ignore,
    ) -> None:
        self.origin = origin
        self._settings = settings
        self._resolver = resolver or Resolver(emit)
        self._emit = emit
        self._preferred: SocketAddress | None = None
        self._failed: set[SocketAddress] = set()
        # The bank's addresses that the outbound proxy did not reach.
        self._failed_targets: set[str] = set()

    async def connect(self, create_protocol: Callable[[], P]) -> P:
        """Return the protocol of a connection that is open, TLS handshake included.

        Raises ``UpstreamError`` when none can be made within ``upstream.connect_timeout``,
        ``ProxyError`` when this process may open no more files.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + self._settings.connect_timeout
        if self.origin.proxy is None:
            protocol = await self._connect_directly(create_protocol, deadline)
        else:
            protocol = await self._connect_through(self.origin.proxy, create_protocol, deadline)
        self._emit(ConnectionOpened(loop.time() - started))
        return protocol

    async def _connect_directly(self, create_protocol: Callable[[], P], deadline: float) -> P:
        loop, origin = asyncio.get_running_loop(), self.origin
        sock, address = await self._dial(origin.host, origin.port, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                _, protocol = await loop.create_connection(
                    create_protocol, sock=sock, ssl=origin.tls, server_hostname=self._tls_name
                )
        except OSError as error:
            self._note_failure(origin.host, address, AddressFailure.TLS)
            tried = f"The address was {show(address)}."
            raise _handshake_error(error, tried) from error
        return protocol

    @property
    def _tls_name(self) -> str | None:
        # A certificate has no dot at the end of a name.
        return self.origin.host.rstrip(".") if self.origin.tls else None

    async def _connect_through(
        self, proxy: OutboundProxy, create_protocol: Callable[[], P], deadline: float
    ) -> P:
        origin = self.origin
        if not proxy.resolves_here:
            return await self._tunnel(proxy, origin.host, create_protocol, deadline)
        found = await self._look_up(origin.host, origin.port, deadline)
        targets = [str(info[4][0]) for info in found]
        self._failed_targets.intersection_update(targets)
        # A proxy may have no IPv6, or reach one address of several.
        targets.sort(key=self._failed_targets.__contains__)
        for number, target in enumerate(targets, start=1):
            try:
                protocol = await self._tunnel(proxy, target, create_protocol, deadline)
            except UpstreamError as error:
                if error.reason in _TARGET_FAILURES:
                    self._failed_targets.add(target)
                if error.reason is not kinds.UPSTREAM_PROXY_NO_CONNECTION or number == len(targets):
                    raise
            else:
                self._failed_targets.discard(target)
                return protocol
        raise ConnectError(kinds.UPSTREAM_RESOLVE)

    async def _tunnel(
        self, proxy: OutboundProxy, host: str, create_protocol: Callable[[], P], deadline: float
    ) -> P:
        """Open a connection to ``host``, the bank's name or address, through the proxy."""
        origin = self.origin
        try:
            sock, address = await self._dial(proxy.host, proxy.port, deadline)
        except ConnectError as error:
            kind = _PROXY_KINDS.get(error.reason, kinds.UPSTREAM_PROXY_CONNECT)
            raise ConnectError(kind, tried=error.tried) from error
        negotiation = Negotiation()
        transport = await self._start_negotiation(proxy, negotiation, sock, address, deadline)
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await negotiation.run(transport, proxy.conversation(host, origin.port))
            except TimeoutError:
                # It may hang while another address of its name works.
                self._note_failure(proxy.host, address, AddressFailure.NO_ANSWER)
                tried = f"The address was {show(address)}."
                raise ConnectError(kinds.UPSTREAM_PROXY_TIMEOUT, tried=tried) from None
            if origin.tls is not None:
                transport = await self._start_tls(transport, negotiation, origin.tls, deadline)
            if negotiation.has_unread or transport.is_closing():
                # Bytes that nobody asked for; the next request would take them for its response.
                raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
        except BaseException:
            transport.abort()
            raise
        protocol = create_protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return protocol

    async def _start_negotiation(
        self,
        proxy: OutboundProxy,
        negotiation: Negotiation,
        sock: socket.socket,
        address: SocketAddress,
        deadline: float,
    ) -> asyncio.Transport:
        name = proxy.host.rstrip(".") if proxy.tls else None
        try:
            async with asyncio.timeout_at(deadline):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: negotiation, sock=sock, ssl=proxy.tls, server_hostname=name
                )
        except OSError as error:
            self._note_failure(proxy.host, address, AddressFailure.TLS)
            kind = kinds.UPSTREAM_PROXY_TLS
            why = tls_reason(error) if isinstance(error, ssl.SSLError) else words(error)
            raise ConnectError(
                kind, f"{kind.cause[:-1]} ({why}).", f"The address was {show(address)}."
            ) from error
        return transport

    async def _start_tls(
        self,
        transport: asyncio.Transport,
        negotiation: Negotiation,
        tls: ssl.SSLContext,
        deadline: float,
    ) -> asyncio.Transport:
        try:
            async with asyncio.timeout_at(deadline):
                inner = await asyncio.get_running_loop().start_tls(
                    transport, negotiation, tls, server_hostname=self._tls_name
                )
        except OSError as error:
            tried = f"The way was through the outbound proxy {self.origin.proxy}."
            raise _handshake_error(error, tried) from error
        if inner is None:
            raise ConnectError(kinds.UPSTREAM_CLOSED)
        return inner

    async def _look_up(self, host: str, port: int, deadline: float) -> Sequence[AddressInfo]:
        settings = self._settings
        try:
            async with asyncio.timeout_at(deadline):
                return await self._resolver.resolve(
                    host, port, ttl=settings.dns_ttl, max_stale=settings.dns_max_stale
                )
        except TimeoutError:
            raise ConnectError(kinds.UPSTREAM_RESOLVE_TIMEOUT) from None
        except OSError as error:
            why = f"The resolver's words: {error.strerror or error}."
            raise ConnectError(kinds.UPSTREAM_RESOLVE, tried=why) from error

    async def _dial(
        self, host: str, port: int, deadline: float
    ) -> tuple[socket.socket, SocketAddress]:
        """Return a connected socket, and its other end."""
        known = await self._look_up(host, port, deadline)
        self._failed.intersection_update(info[4] for info in known)
        attempts = Attempts(asyncio.get_running_loop())
        try:
            async with asyncio.timeout_at(deadline):
                sock = await aiohappyeyeballs.start_connection(
                    sorted(known, key=self._rank),
                    happy_eyeballs_delay=NEXT_AFTER,
                    # The one way to learn what became of each address.
                    loop=cast(asyncio.AbstractEventLoop, attempts),
                    socket_factory=attempts.create_socket,
                )
        except (OSError, RuntimeError) as error:
            for failed, reason in attempts.failures.items():
                self._note_failure(host, failed, failure_of(reason))
            raise attempts.error(error) from error
        assert attempts.connected is not None
        self._preferred = address = attempts.connected
        self._failed.discard(address)
        for failed, reason in attempts.failures.items():
            self._note_failure(host, failed, failure_of(reason), show(address))
        return sock, address

    def _rank(self, info: AddressInfo) -> int:
        if info[4] == self._preferred:
            return 0
        return 2 if info[4] in self._failed else 1

    def _note_failure(
        self, host: str, address: SocketAddress, reason: AddressFailure, used: str = ""
    ) -> None:
        self._failed.add(address)
        if address == self._preferred:
            self._preferred = None
        self._emit(AddressFailed(host, show(address), reason, used))


class Attempts:
    """Makes sockets and connects them, and notes each address that does not connect.

    ``failures`` has its error, or None as long as there is no answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.failures: dict[SocketAddress, OSError | None] = {}
        self.connected: SocketAddress | None = None

    def create_socket(self, info: aiohappyeyeballs.AddrInfoType) -> socket.socket:
        """Return a socket whose connection ends when the other machine is gone."""
        family, kind, protocol, _, _ = info
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TCP_OPTIONS.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return sock

    async def sock_connect(self, sock: socket.socket, address: SocketAddress) -> None:
        """Connect as the loop's method does. Raises ``OSError``."""
        self.failures[address] = None
        try:
            await self._loop.sock_connect(sock, address)
        except OSError as error:
            self.failures[address] = error
            raise
        if self.connected is None:
            self.connected = address
        del self.failures[address]

    def error(self, error: OSError | RuntimeError) -> ProxyError:
        """Return the error of a name of which no address connects."""
        failures = self.failures.values()
        if is_out_of_files(error):
            return ProxyError(kinds.OUT_OF_FILES)
        if any(isinstance(failure, ConnectionRefusedError) for failure in failures):
            kind: UpstreamFailure = kinds.UPSTREAM_CONNECT
        elif isinstance(error, TimeoutError) or None in failures:
            kind = kinds.UPSTREAM_CONNECT_TIMEOUT
        else:
            kind = kinds.UPSTREAM_UNREACHABLE
        tried = ", ".join(f"{show(at)} ({words(failure)})" for at, failure in self.failures.items())
        return ConnectError(kind, tried=f"Tried: {tried}." if tried else "")


def show(address: SocketAddress) -> str:
    """Return an address as people write it."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def words(failure: OSError | None) -> str:
    """Return the system's words for what became of an attempt to connect."""
    if failure is None or (isinstance(failure, TimeoutError) and not failure.errno):
        return "no answer"
    # asyncio puts words of its own into strerror.
    return os.strerror(failure.errno).lower() if failure.errno else str(failure) or "closed"


def failure_of(failure: OSError | None) -> AddressFailure:
    """Return why an address gave no connection."""
    if failure is None or isinstance(failure, TimeoutError):
        return AddressFailure.NO_ANSWER
    if isinstance(failure, ConnectionRefusedError):
        return AddressFailure.REFUSED
    return AddressFailure.UNREACHABLE if failure.errno in _NO_ROUTE else AddressFailure.OTHER


def _handshake_error(error: OSError, tried: str) -> ProxyError:
    if isinstance(error, TimeoutError):
        return ConnectError(kinds.UPSTREAM_TLS_TIMEOUT, tried=tried)
    found = connect_error(error)
    if isinstance(found, UpstreamError):
        return ConnectError(found.reason, found.detail, tried)
    return found


_TARGET_FAILURES = (kinds.UPSTREAM_PROXY_NO_CONNECTION, kinds.UPSTREAM_PROXY_TIMEOUT)
"""Failures that another address of the bank may not meet."""

_PROXY_KINDS = {
    kinds.UPSTREAM_RESOLVE: kinds.UPSTREAM_PROXY_RESOLVE,
    kinds.UPSTREAM_RESOLVE_TIMEOUT: kinds.UPSTREAM_PROXY_RESOLVE,
    kinds.UPSTREAM_CONNECT_TIMEOUT: kinds.UPSTREAM_PROXY_TIMEOUT,
}
"""What a failure of the bank's address is called when it is the outbound proxy's."""
