"""Sockets that listen: a TCP port on every address of a name, or a Unix socket."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.errors import ConfigError
from proxy.server.address import Address

BACKLOG = 1024
"""Connections that the system holds until they are accepted."""


def unix_socket(path: str, mode: int) -> socket.socket:
    """Listen on a socket file with these permissions; one without a server is replaced.

    Raises ``OSError``, and ``NotImplementedError`` where there are no Unix sockets.
    """
    with for_owner_only(path, mode):
        return _unix_socket(path)


def inode(path: str) -> int:
    """Return the inode of a file, 0 if there is none."""
    try:
        return Path(path).stat().st_ino
    except OSError:
        return 0


def _unix_socket(path: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise NotImplementedError
    with suppress(FileNotFoundError):
        if Path(path).is_socket():
            Path(path).unlink()
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


async def tcp_sockets(address: Address) -> list[socket.socket]:
    """Listen on every address of a name. Raises ``OSError``."""
    infos = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, where in dict.fromkeys((info[0], info[4]) for info in infos):
            sock = socket.create_server(where, family=family, backlog=BACKLOG)
            sock.setblocking(False)
            sockets.append(sock)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


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
    """Raise ``OSError`` if a server accepts there."""
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


def bound_address(sock: socket.socket) -> Address:
    """Return the address of a socket, with the port that the system chose."""
    name = sock.getsockname()
    if isinstance(name, str):
        return Address(host="", port=0, path=name)
    return Address(host=name[0], port=name[1])


class ListenError(ConfigError):
    """An address cannot be listened on; ``is_in_use`` because another socket does."""

    def __init__(self, message: str, *, is_in_use: bool) -> None:
        super().__init__([message])
        self.is_in_use = is_in_use


def cannot_listen(setting: str, address: Address, error: Exception) -> ListenError:
    """Return the error for an address that cannot be used; Windows has no Unix sockets."""
    why = "this system has no Unix sockets"
    if isinstance(error, OSError):
        # Sockets put the address into the system's words; a look-up has words of its own.
        is_plain = error.errno is not None and not isinstance(error, socket.gaierror)
        why = os.strerror(error.errno) if is_plain and error.errno else str(error.strerror or error)
    flag = "" if "." in setting else f" with --{setting}"
    return ListenError(
        f"{setting}: cannot listen on {address} ({why}); choose another{flag}",
        is_in_use=isinstance(error, OSError) and error.errno == errno.EADDRINUSE,
    )
