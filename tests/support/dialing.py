"""Connections to servers of tests, opened as the proxy opens those to the bank."""

import asyncio
import ssl
from typing import Any, cast
from urllib.parse import urlsplit

from proxy.upstream.bank_client import BankClient
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.pool import Pool
from proxy.upstream.tunnel import OutboundProxy
from proxy.upstream.upstream_settings import UpstreamSettings

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Stream(asyncio.StreamReaderProtocol):
    """Keeps its transport."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it."""
        self.transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)


async def dial(dialer: Dialer) -> Streams:
    """Open a connection."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    stream = await dialer.connect(lambda: Stream(reader, loop=loop))
    return reader, asyncio.StreamWriter(stream.transport, stream, reader, loop)


def make_pool(host: str, port: int, tls: ssl.SSLContext | None = None, **settings: Any) -> Pool:
    """Return a pool of connections to ``host:port``."""
    made = UpstreamSettings(**settings)
    return Pool(Dialer(UpstreamOrigin(host, port, tls), made), made)


def bank_client(
    base_url: str,
    *,
    timeout: float,
    tls: ssl.SSLContext | None = None,
    proxy: OutboundProxy | None = None,
) -> BankClient:
    """Return a client for calls to ``base_url``; with https, ``tls`` is by default the system's."""
    url = urlsplit(base_url)
    if url.scheme == "https":
        tls = tls or ssl.create_default_context()
    port = url.port or (443 if tls else 80)
    dialer = Dialer(UpstreamOrigin(str(url.hostname), port, tls, proxy), UpstreamSettings())
    return BankClient(base_url, dialer, timeout=timeout)
