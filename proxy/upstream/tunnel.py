"""Outbound proxies: what is said to one until the other end of the connection is the bank.

A conversation is a generator without I/O: it yields bytes to send, is sent bytes that were
received, and returns when the tunnel is open. It raises ``UpstreamError`` (``PROXY_…``) otherwise.
"""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from socksio import ProtocolError, socks5

from proxy.errors import UpstreamError, kinds

Conversation = Generator[bytes, bytes, None]

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")
_CHALLENGE = re.compile(rb"(?i)\r\nproxy-authenticate:([^\r\n]*)")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"')
# The name of a scheme, not of a parameter (RFC 9110 section 11.6.1).
_SCHEME = re.compile(rb"(?:^|,)[ \t]*([A-Za-z][A-Za-z0-9-]{0,30})(?=[ \t]+[^ \t=]|[ \t]*(?:,|$))")
_MAX_RESPONSE = 16_384


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """A proxy on the way to the bank; ``user`` and ``password`` may be empty.

    ``scheme`` is ``http``, ``https``, ``socks5`` (names are resolved here) or ``socks5h`` (by the
    proxy); ``tls`` is the context for ``https``.
    """

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    scheme: str = "http"
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Return its URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def resolves_here(self) -> bool:
        """Whether it is told an address, not a name."""
        return self.scheme == "socks5"

    @property
    def authorization(self) -> str:
        """The value of ``Proxy-Authorization``, or an empty text."""
        if not self.user:
            return ""
        pair = f"{self.user}:{self.password}".encode()
        return "Basic " + b64encode(pair).decode("ascii")

    def conversation(self, host: str, port: int) -> Conversation:
        """Return what opens a tunnel to ``host:port``."""
        is_socks = self.scheme.startswith("socks")
        return _socks(self, host, port) if is_socks else _connect(self, host, port)


class Negotiation(asyncio.Protocol):
    """Receives while a connection does not belong to its user yet."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._is_over = False
        self._wake: asyncio.Future[None] | None = None

    async def run(self, transport: asyncio.WriteTransport, conversation: Conversation) -> None:
        """Hold a conversation to its end."""
        with suppress(StopIteration):
            to_send = next(conversation)
            while True:
                if to_send:
                    transport.write(to_send)
                to_send = conversation.send(await self._receive())

    @property
    def has_unread(self) -> bool:
        """Whether something came that no conversation asked for."""
        return bool(self._received)

    def data_received(self, data: bytes) -> None:
        """Keep it for who waits."""
        self._received += data
        self._notify()

    def eof_received(self) -> None:
        """Let the transport close."""
        self._is_over = True
        self._notify()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        self._is_over = True
        self._notify()

    async def _receive(self) -> bytes:
        while not self._received:
            if self._is_over:
                raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        received = bytes(self._received)
        self._received.clear()
        return received

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


# HTTP (RFC 9110 section 9.3.6).


def _connect(proxy: OutboundProxy, host: str, port: int) -> Conversation:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    head = yield "\r\n".join([*lines, "", ""]).encode("ascii")
    while b"\r\n\r\n" not in head:
        if len(head) > _MAX_RESPONSE:
            raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
        head += yield b""
    check_response(head)


def check_response(head: bytes) -> None:
    """Return for the head of a proxy that has connected us; raise ``UpstreamError`` for others."""
    match = _STATUS.match(head)
    if match is None:
        raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
    status = int(match[1])
    if status == 407:
        raise _login_error(offered_schemes(head))
    if not 200 <= status < 300:
        raise _not_connected(str(status), is_refusal=status < 500)
    if not head.endswith(b"\r\n\r\n"):
        # Whoever speaks before it is asked is not the bank.
        raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)


def offered_schemes(head: bytes) -> list[str]:
    """Return the authentication schemes in ``Proxy-Authenticate``, at most eight."""
    head = head.partition(b"\r\n\r\n")[0]
    found = [
        scheme.decode("ascii")
        for value in _CHALLENGE.findall(head)
        for scheme in _SCHEME.findall(_QUOTED.sub(b'""', value.strip()))
    ]
    return list(dict.fromkeys(found))[:8]


def _login_error(schemes: list[str]) -> UpstreamError:
    if not schemes or "basic" in map(str.lower, schemes):
        return UpstreamError(kinds.UPSTREAM_PROXY_LOGIN)
    kind = kinds.UPSTREAM_PROXY_SCHEME
    return UpstreamError(kind, f"{kind.cause} It offers {', '.join(schemes)}.")


def _not_connected(why: str, *, is_refusal: bool) -> UpstreamError:
    kind = kinds.UPSTREAM_PROXY_REFUSED if is_refusal else kinds.UPSTREAM_PROXY_NO_CONNECTION
    return UpstreamError(kind, f"{kind.cause[:-1]} ({why}).")


# SOCKS 5 (RFC 1928, RFC 1929).

_SOCKS_REFUSALS = (
    socks5.SOCKS5ReplyCode.CONNECTION_NOT_ALLOWED_BY_RULESET,
    socks5.SOCKS5ReplyCode.COMMAND_NOT_SUPPORTED,
    socks5.SOCKS5ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
)


def _socks(proxy: OutboundProxy, host: str, port: int) -> Conversation:
    try:
        yield from _socks_login(socks := socks5.SOCKS5Connection(), proxy)
        target = socks5.SOCKS5CommandRequest.from_address(
            socks5.SOCKS5Command.CONNECT, (host, port)
        )
        reply = yield from _socks_send(socks, target)
    except (ProtocolError, ValueError) as error:
        raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED) from error
    if reply.reply_code is not socks5.SOCKS5ReplyCode.SUCCEEDED:
        is_refusal = reply.reply_code in _SOCKS_REFUSALS
        raise _not_connected(reply.reply_code.name.lower().replace("_", " "), is_refusal=is_refusal)


def _socks_login(
    socks: socks5.SOCKS5Connection, proxy: OutboundProxy
) -> Generator[bytes, bytes, None]:
    methods = [socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if proxy.user:
        methods.append(socks5.SOCKS5AuthMethod.USERNAME_PASSWORD)
    reply = yield from _socks_send(socks, socks5.SOCKS5AuthMethodsRequest(methods))
    if reply.method not in methods:
        raise UpstreamError(kinds.UPSTREAM_PROXY_LOGIN)
    if reply.method is socks5.SOCKS5AuthMethod.USERNAME_PASSWORD:
        user, password = proxy.user.encode(), proxy.password.encode()
        if max(len(user), len(password)) > 255:
            raise UpstreamError(kinds.UPSTREAM_PROXY_LOGIN)
        reply = yield from _socks_send(socks, socks5.SOCKS5UsernamePasswordRequest(user, password))
        if not reply.success:
            raise UpstreamError(kinds.UPSTREAM_PROXY_LOGIN)


def _socks_send(socks: socks5.SOCKS5Connection, request: Any) -> Generator[bytes, bytes, Any]:
    """Send a request and return the reply, which the library wants whole."""
    is_command = isinstance(request, socks5.SOCKS5CommandRequest)
    socks.send(request)
    data = yield socks.data_to_send()
    while len(data) < (_command_reply_length(data) if is_command else 2):
        data += yield b""
    if len(data) > (_command_reply_length(data) if is_command else 2):
        raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
    return socks.receive_data(data)


def _command_reply_length(data: bytes) -> int:
    """Return the length of a reply that begins like this (RFC 1928 section 6)."""
    if len(data) < 5:
        return 5 if data[:1] in (b"", b"\x05") else 1
    lengths = {1: 4, 3: 1 + data[4], 4: 16}
    return 6 + lengths.get(data[3], 0)
