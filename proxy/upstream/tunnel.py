"""TCP connections through an outbound HTTP proxy, with ``CONNECT`` (RFC 9110 section 9.3.6)."""

import asyncio
import re
import socket
from base64 import b64encode
from dataclasses import dataclass, field

from proxy.errors import UpstreamError, kinds

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")
_MAX_RESPONSE = 16_384


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """An HTTP proxy between this one and the upstream; ``user`` and ``password`` may be empty."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def authorization(self) -> str:
        """The value of ``Proxy-Authorization``; empty without a user."""
        if not self.user:
            return ""
        pair = f"{self.user}:{self.password}".encode()
        return "Basic " + b64encode(pair).decode("ascii")


async def open_tunnel(proxy: OutboundProxy, host: str, port: int, deadline: float) -> socket.socket:
    """Return a socket that is connected to ``host:port``, by ``deadline`` (loop seconds).

    Raises ``UpstreamError`` (``UPSTREAM_PROXY_…``).
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await _connect_through(proxy, host, port)
    except TimeoutError:
        raise UpstreamError(kinds.UPSTREAM_PROXY_TIMEOUT) from None


async def _connect_through(proxy: OutboundProxy, host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    sock = await _connect(loop, proxy)
    try:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        await loop.sock_sendall(sock, _request(target, proxy.authorization))
        check_response(await _read_response(loop, sock))
    except OSError as error:
        sock.close()
        raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(loop: asyncio.AbstractEventLoop, proxy: OutboundProxy) -> socket.socket:
    try:
        addresses = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpstreamError(kinds.UPSTREAM_PROXY_RESOLVE) from error
    for at, (family, kind, protocol, _, address) in enumerate(addresses, 1):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            if at == len(addresses):
                raise UpstreamError(kinds.UPSTREAM_PROXY_CONNECT) from error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise AssertionError("a name that resolves has an address")


def _request(target: str, authorization: str) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if authorization:
        lines.append(f"Proxy-Authorization: {authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _read_response(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    # Blocks may be read, because the upstream sends nothing through the tunnel before TLS begins.
    head = b""
    while b"\r\n\r\n" not in head:
        block = await loop.sock_recv(sock, 4096)
        head += block
        if not block or len(head) > _MAX_RESPONSE:
            raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
    return head


def check_response(head: bytes) -> None:
    """Check the proxy's response to CONNECT. Raises ``UpstreamError`` unless it is a 2xx."""
    match = _STATUS.match(head)
    if match is None:
        raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
    status = int(match[1])
    if status == 407:
        raise UpstreamError(kinds.UPSTREAM_PROXY_LOGIN)
    if not 200 <= status < 300:
        raise UpstreamError(
            kinds.UPSTREAM_PROXY_REFUSED, f"The outbound proxy refused to connect ({status})."
        )
    if not head.endswith(b"\r\n\r\n"):
        # Data before the TLS handshake cannot come from the bank.
        raise UpstreamError(kinds.UPSTREAM_PROXY_MALFORMED)
