"""A caller that disconnects within a large response does not affect the next exchange.

The upstream is the standard library's server, which sends each response in one call and keeps its
connections. At some of the sizes the last bytes arrive in the read that fills the proxy's buffer,
so that the response is complete while reading is paused.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy.runtime.app import App
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.raw_client import RawConnection, connect
from tests.support.running import running, until

EVERY_LOOP = True

SIZES = [size * 100_000 for size in (3, 4, 6, 8, 10, 13, 18, 24, 28, 32, 34, 36, 40, 48, 64)]
"""Bytes of a response."""


class _Upstream(BaseHTTPRequestHandler):
    """Responds to ``/SIZE`` with a body of that many bytes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send a head and a body in one call."""
        size = int(self.path.rpartition("/")[2])
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        assert isinstance(self.server, _Server)
        self.server.sent.clear()
        self.server.requests += 1
        self.wfile.write(head + b"x" * size)
        self.server.sent.set()

    def log_message(self, *_args: Any) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    """``sent`` is set while no response is being sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Upstream)
        self.sent = threading.Event()
        self.requests = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, *_args: Any) -> None:
        """Ignore connections that the proxy has closed."""


@contextmanager
def stdlib_upstream(tls: ssl.SSLContext | None = None) -> Iterator[_Server]:
    """Serve on a free port."""
    server = _Server()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def one_connection(
    way: str, folder: Path, **overrides: Any
) -> AsyncIterator[tuple[App, _Server]]:
    """Run a proxy with a single upstream connection, which all exchanges share."""
    upstream: dict[str, Any] = {"max_connections": 1, "first_byte_timeout": "5"}
    context = None
    if way == "tls":
        authority = OpensslAuthority.make(folder)
        context = server_context(authority.issue("bank", "IP:127.0.0.1"))
        upstream["ca_file"] = str(authority.file)
    if way == "unix":
        overrides["listen"] = f"unix:{folder}/proxy.sock"
    with stdlib_upstream(context) as server:
        settings = {"bearer_token": "scripted", "upstream": upstream, **overrides}
        async with running(server.url, **settings) as app:
            yield app, server


def get(size: int) -> bytes:
    """Return a request for a body of ``size`` bytes."""
    return b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size


async def ask_and_read_nothing(server: _Server, wire: RawConnection, size: int) -> None:
    """Request ``size`` bytes and read none of them."""
    wire.stop_reading()
    before = server.requests
    await wire.send(get(size))
    await until(lambda: server.requests > before)


async def expect_unharmed(app: App, size: int) -> None:
    """Expect a good response for the caller after one that has left ``size`` bytes."""
    await until(lambda: app.forwarder.in_flight == 0)
    async with connect(app) as wire:
        response = await wire.ask(get(7))
    assert (response.status, response.body) == (200, b"xxxxxxx"), f"after {size} bytes"


@pytest.mark.parametrize("way", ["tcp", "unix", "tls"])
async def test_disconnect_does_not_affect_the_next_request(way: str, tmp_path: Path) -> None:
    """Whatever the size of the unread response."""
    async with one_connection(way, tmp_path) as (app, server):
        for size in SIZES:
            async with connect(app) as leaving:
                await ask_and_read_nothing(server, leaving, size)
                # A response that fits into the buffers has been sent by then; others wait.
                await asyncio.to_thread(server.sent.wait, 0.1)
                leaving.reset()
            await expect_unharmed(app, size)


@pytest.mark.parametrize("way", ["tcp", "unix", "tls"])
async def test_write_timeout_does_not_affect_the_next_request(way: str, tmp_path: Path) -> None:
    """The caller stays connected and reads nothing."""
    async with one_connection(way, tmp_path, limits={"idle_timeout": "0.1"}) as (app, server):
        for size in SIZES:
            async with connect(app) as slow:
                await ask_and_read_nothing(server, slow, size)
                await expect_unharmed(app, size)
