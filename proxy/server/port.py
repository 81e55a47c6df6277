"""Where callers reach us: a TCP port, with TLS or without, or a Unix socket."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from proxy.errors import ConfigError
from proxy.server.address import Address

BACKLOG = 1024


class Port:
    """Listens on ``address``; ``protocol`` makes what serves a connection.

    ``handshake_timeout`` is in seconds; ``setting`` is where the address comes from.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        address: Address,
        handshake_timeout: float,
        setting: str = "listen",
    ) -> None:
        self._protocol = protocol
        self._address = address
        self._handshake_timeout = handshake_timeout
        self._setting = setting
        self._servers: list[asyncio.Server] = []
        self._closed = False

    async def open(self, tls: ssl.SSLContext | None, socket_mode: int) -> Address:
        """Begin to listen; return where. Raises ``ConfigError`` for a port in use."""
        address, loop = self._address, asyncio.get_running_loop()
        try:
            if address.path:
                with for_owner_only(address.path, socket_mode):
                    server = await loop.create_unix_server(
                        self._protocol, address.path, backlog=BACKLOG
                    )
            else:
                server = await loop.create_server(
                    self._protocol, address.host, address.port, **self._options(tls)
                )
        except (OSError, NotImplementedError) as error:
            raise cannot_listen(self._setting, address, error) from error
        self._servers = [server]
        return bound_address(server)

    async def replace_tls(self, tls: ssl.SSLContext) -> None:
        """Let connections from now on see other certificates; none is missed meanwhile.

        A context that is in use could be loaded anew, but would go on trusting what it has
        trusted before.
        """
        before, after = self._servers, list[asyncio.Server]()
        for sock in [sock for server in before for sock in server.sockets]:
            after.append(
                await asyncio.get_running_loop().create_server(
                    self._protocol, sock=_duplicate(sock), **self._options(tls)
                )
            )
        self._servers, leaving = after, after if self._closed else before
        for server in leaving:
            await _close(server)

    def close(self) -> None:
        """Listen no more; connections go on."""
        self._closed = True
        for server in self._servers:
            server.close()

    def _options(self, tls: ssl.SSLContext | None) -> dict[str, Any]:
        timeout = self._handshake_timeout if tls else None
        return {"backlog": BACKLOG, "ssl": tls, "ssl_handshake_timeout": timeout}


async def _close(server: asyncio.Server) -> None:
    """Close a server without losing a connection that it has just accepted.

    asyncio drops those that it accepts in the very turn of the loop in which it is closed.
    """
    loop = asyncio.get_running_loop()
    for sock in server.sockets:
        with suppress(NotImplementedError):
            loop.remove_reader(sock)
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()


def _duplicate(sock: socket.socket) -> socket.socket:
    # The same open port under another number, so that each server closes its own.
    return socket.fromfd(sock.fileno(), sock.family, sock.type)


@contextmanager
def for_owner_only(path: str, mode: int) -> Iterator[None]:
    """Make a socket under a mask that leaves it to its owner, then give it its ``mode``.

    So nobody slips in before the mode is set. Raises ``OSError`` for a socket that is in use.
    """
    _check_unused(path)
    mask = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(mask)
    Path(path).chmod(mode)


def _check_unused(path: str) -> None:
    """Raise ``OSError`` if somebody answers there: an event loop would just take the name away."""
    if not hasattr(socket, "AF_UNIX"):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return  # none, or one that somebody has left behind
        except BlockingIOError:
            pass  # somebody, who has much to do
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def bound_address(listener: asyncio.Server) -> Address:
    """Return where a server listens, with the port that the system chose."""
    name = listener.sockets[0].getsockname()
    if isinstance(name, str):
        return Address(host="", port=0, path=name)
    return Address(host=name[0], port=name[1])


def cannot_listen(setting: str, address: Address, error: Exception) -> ConfigError:
    """Return what to say of a port that cannot be had; Windows has no Unix sockets at all."""
    why = error.strerror if isinstance(error, OSError) else "this system has no Unix sockets"
    why = why or str(error)
    flag = "" if "." in setting else f" with --{setting}"
    return ConfigError([f"{setting}: cannot listen on {address} ({why}); choose another{flag}"])
