"""A client of a running proxy's admin port, for ``healthcheck``, ``wait`` and ``top``."""

import http.client
import socket
import time
from dataclasses import replace

from proxy.server.address import Address

TIMEOUT = 3.0
"""Seconds until a probe times out."""

POLL_INTERVAL = 0.2
"""Seconds between two probes of ``wait``."""


def reachable(address: Address) -> Address:
    """Return the address by which this machine reaches a server that listens on ``address``."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound
    return replace(address, host=everywhere.get(address.host, address.host))


def probe(address: Address, probe: str) -> tuple[bool, str]:
    """Return whether ``/{probe}`` responds 200, and its body, or why there is no response.

    ``HTTP_PROXY`` is not used, because the port is this machine's.
    """
    connection = _connection(address)
    try:
        connection.request("GET", f"/{probe}")
        response = connection.getresponse()
        return response.status == 200, response.read(1_000_000).decode("utf-8", "replace")
    except OSError as error:
        return False, f"candescent-proxy: no response from {address} ({error.strerror or error})"
    except http.client.HTTPException:
        return False, f"candescent-proxy: the response from {address} is not HTTP"
    finally:
        connection.close()


def wait(address: Address, timeout: float) -> tuple[bool, str]:
    """Probe until the proxy is ready or ``timeout`` seconds have passed; return the last result."""
    end = time.monotonic() + timeout
    while True:
        is_ready, message = probe(address, "readyz")
        if is_ready or time.monotonic() >= end:
            return is_ready, message
        time.sleep(POLL_INTERVAL)


def _connection(address: Address) -> http.client.HTTPConnection:
    if address.path:
        return _UnixConnection(address.path)
    return http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
