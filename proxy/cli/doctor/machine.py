"""Checks of this machine: free ports, and the limit on open files."""

import errno
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from proxy.cli import admin_client
from proxy.cli.doctor import remedies
from proxy.cli.doctor.results import CheckResult, note, ok, problem
from proxy.config.model import Config
from proxy.errors import TYPE_PREFIX
from proxy.runtime import rlimits
from proxy.server.address import Address

TIMEOUT = 2.0
"""Seconds that another program on a port has to respond."""

_PROBE = b"TRACE / HTTP/1.1\r\nHost: doctor\r\nConnection: close\r\n\r\n"
"""A request that candescent-proxy refuses with its own problem type and never forwards."""


def ports(config: Config) -> Iterator[CheckResult]:
    """Check every address that the proxy would listen on."""
    for listener in config.listener_configs:
        is_tls = listener.callers.certificate_file is not None
        yield from port(f"{listener.path}listen", listener.address, is_tls=is_tls)
    yield from port("admin", config.admin, is_tls=False)


def port(setting: str, address: Address, *, is_tls: bool) -> Iterator[CheckResult]:
    """Check one address: free, used by a candescent-proxy, or by another program."""
    if address.path and not Path(address.path).parent.is_dir():
        yield problem(
            "ports", remedies.SOCKET_FOLDER, setting=setting, folder=Path(address.path).parent
        )
        return
    try:
        _listen(address)
    except OSError as error:
        yield refused(setting, address, error, is_tls=is_tls)
    else:
        yield ok("ports", f"{setting}: {address} is free.")


def _listen(address: Address) -> None:
    """Listen briefly. Raises the ``OSError`` that the proxy would get."""
    if address.path:
        # A socket without a server does not matter: the proxy replaces it.
        with socket.socket(socket.AF_UNIX) as sock, suppress(FileNotFoundError, ConnectionError):
            sock.connect(address.path)
            raise OSError(errno.EADDRINUSE, "in use")
        return
    addresses = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, kind, protocol, _, where in addresses:
        with socket.socket(family, kind, protocol) as sock:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where REUSEADDR means sharing
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(where)
            sock.listen(1)


def refused(setting: str, address: Address, error: OSError, *, is_tls: bool) -> CheckResult:
    """Return the result for an address that cannot be listened on."""
    values = {"setting": setting, "address": address}
    if error.errno == errno.EACCES:
        return problem("ports", remedies.PORT_FORBIDDEN, **values)
    if error.errno != errno.EADDRINUSE:
        return problem("ports", remedies.PORT_ADDRESS, **values, why=error.strerror or error)
    is_ours = _is_our_admin(address) if setting == "admin" else _is_ours(address, is_tls=is_tls)
    if is_ours:
        return note("ports", f"{setting}: a candescent-proxy listens on {address} already.")
    return problem("ports", remedies.PORT_TAKEN, **values)


def _is_our_admin(address: Address) -> bool:
    is_alive, message = admin_client.probe(admin_client.reachable(address), "livez")
    with suppress(ValueError):
        return is_alive and json.loads(message) == {"status": "alive"}
    return False


def _is_ours(address: Address, *, is_tls: bool) -> bool:
    """Whether a candescent-proxy listens there: it responds with its own problem type."""
    try:
        with _dial(admin_client.reachable(address), is_tls=is_tls) as sock:
            sock.sendall(_PROBE)
            received = b""
            while len(received) < 65_536 and (block := sock.recv(4096)):
                received += block
    except OSError:
        return False
    return TYPE_PREFIX.encode() in received


def _dial(address: Address, *, is_tls: bool) -> socket.socket:
    if address.path:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        sock.connect(address.path)
        return sock
    sock = socket.create_connection((address.host, address.port), TIMEOUT)
    return unverified().wrap_socket(sock) if is_tls else sock


def unverified() -> ssl.SSLContext:
    """Return a context that verifies nothing, only to read a certificate. Send no secrets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def open_files(config: Config) -> Iterator[CheckResult]:
    """Check the limit on open files (``RLIMIT_NOFILE``)."""
    needed = rlimits.files_needed(config)
    limit = rlimits.raise_limit(needed)
    if rlimits.fit_to_limit(config, limit) is not config:
        yield problem("limits", remedies.OPEN_FILES, limit=limit, needed=needed)
