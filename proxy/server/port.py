"""A listening TCP port, with or without TLS, or a Unix socket."""

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
    """Listens on ``address``; ``protocol`` creates the protocol of each connection.

    ``handshake_timeout`` is in seconds; ``setting`` is the name of the address's setting.
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
        """Start to listen; return the address. Raises ``ConfigError`` for a port in use."""
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
        """Use other certificates for new connections, without refusing any meanwhile.

        Reloading files into the present context would keep the authorities it already trusts.
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
        """Stop listening; open connections stay."""
        self._closed = True
        for server in self._servers:
            server.close()

    def _options(self, tls: ssl.SSLContext | None) -> dict[str, Any]:
        timeout = self._handshake_timeout if tls else None
        return {"backlog": BACKLOG, "ssl": tls, "ssl_handshake_timeout": timeout}


async def _close(server: asyncio.Server) -> None:
    """Close a server without losing a connection that it has just accepted.

    asyncio drops those that it accepts in the iteration of the loop in which it is closed.
    """
    loop = asyncio.get_running_loop()
    for sock in server.sockets:
        with suppress(NotImplementedError):
            loop.remove_reader(sock)
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()


def _duplicate(sock: socket.socket) -> socket.socket:
    # A second descriptor of the same socket, so that each server closes its own.
    return socket.fromfd(sock.fileno(), sock.family, sock.type)


@contextmanager
def for_owner_only(path: str, mode: int) -> Iterator[None]:
    """Create a Unix socket under a umask of 0177, then set its ``mode``.

    So no other user can connect before the mode is set. Raises ``OSError`` for a socket in use.
    """
    _check_unused(path)
    mask = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(mask)
    Path(path).chmod(mode)


def _check_unused(path: str) -> None:
    """Raise ``OSError`` if a server accepts there: asyncio would silently replace its socket."""
    if not hasattr(socket, "AF_UNIX"):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return  # no socket, or one without a server
        except BlockingIOError:
            pass  # a busy server
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def bound_address(listener: asyncio.Server) -> Address:
    """Return the address of a server, with the port that the system chose."""
    name = listener.sockets[0].getsockname()
    if isinstance(name, str):
        return Address(host="", port=0, path=name)
    return Address(host=name[0], port=name[1])


def cannot_listen(setting: str, address: Address, error: Exception) -> ConfigError:
    """Return the error for an address that cannot be used; Windows has no Unix sockets."""
    why = error.strerror if isinstance(error, OSError) else "this system has no Unix sockets"
    why = why or str(error)
    flag = "" if "." in setting else f" with --{setting}"
    return ConfigError([f"{setting}: cannot listen on {address} ({why}); choose another{flag}"])
