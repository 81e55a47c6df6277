"""Checks of this machine: free ports, and the limit on open files."""

import errno
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from proxy.cli import admin_client
from proxy.cli.doctor import remedies
from proxy.cli.doctor.results import CheckResult, Level, info, ok, problem
from proxy.config.explain import FLAGS
from proxy.config.model import Config
from proxy.runtime import rlimits
from proxy.server.address import Address

_FIND = {
    "darwin": "lsof -nP -iTCP:{} -sTCP:LISTEN",
    "linux": "ss -ltnp sport = :{}",
    "win32": "netstat -ano | findstr :{}",
}
"""Commands that show the program on a port."""


def ports(config: Config) -> Iterator[CheckResult]:
    """Check every address that the proxy would listen on."""
    for setting, address in config.listen_addresses():
        yield from port(setting, address, config.admin)


def used_ports(config: Config) -> list[str]:
    """Return an error for each address that is in use: by what, and what to do."""
    errors = []
    for setting, address in config.listen_addresses():
        for result in port(setting, address, config.admin):
            if result.cause == remedies.PORT_TAKEN.name:
                errors.append(f"{result.text} {result.fix}")
            elif result.level is Level.INFO:
                errors.append(f"{result.text} Stop it, or choose another address{flag(setting)}.")
    return errors


def port(setting: str, address: Address, admin: Address) -> Iterator[CheckResult]:
    """Check one address: free, used by a candescent-proxy (at ``admin``), or by another program."""
    if address.path and not Path(address.path).parent.is_dir():
        yield problem(
            "ports", remedies.SOCKET_FOLDER, setting=setting, folder=Path(address.path).parent
        )
        return
    try:
        _listen(address)
    except OSError as error:
        yield refused(setting, address, error, admin)
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


def refused(setting: str, address: Address, error: OSError, admin: Address) -> CheckResult:
    """Return the result for an address that cannot be listened on."""
    values: dict[str, object] = {"setting": setting, "address": address}
    if error.errno == errno.EACCES:
        return problem("ports", remedies.PORT_FORBIDDEN, **values)
    if error.errno != errno.EADDRINUSE:
        return problem("ports", remedies.PORT_ADDRESS, **values, why=error.strerror or error)
    if any(_is_same(address, used) for used in _used_by_proxy(admin)):
        text = f"{setting}: {address} is in use by a candescent-proxy that is already running."
        return info("ports", text)
    unseen = f", or by a candescent-proxy with another admin port than {admin}"
    values |= {
        "other": "" if address == admin else unseen,
        "find": _how_to_find(address),
        "flag": flag(setting),
    }
    return problem("ports", remedies.PORT_TAKEN, **values)


def _used_by_proxy(admin: Address) -> list[Address]:
    """Return the addresses of a running candescent-proxy, which its admin port names.

    Requests to the other ports would be counted there as a caller's.
    """
    is_alive, message = admin_client.probe(admin_client.reachable(admin), "livez")
    try:
        document = json.loads(message)
        if is_alive and document["status"] == "alive":
            return [admin, *map(Address.parse, document["listeners"])]
    except (ValueError, KeyError, TypeError):
        pass
    return []


def _is_same(wanted: Address, used: Address) -> bool:
    """Whether ``used`` is what makes ``wanted`` unavailable."""
    anywhere = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on
    is_overlap = wanted.host == used.host or {wanted.host, used.host} & {*anywhere}
    return (wanted.port, wanted.path) == (used.port, used.path) and bool(is_overlap)


def _how_to_find(address: Address) -> str:
    """Return a command that shows the program that listens there."""
    if address.path:
        return f"lsof {address.path}"
    return _FIND.get(sys.platform, _FIND["darwin"]).format(address.port)


def flag(setting: str) -> str:
    """Return the flag that sets an address, as the end of a sentence, if there is one."""
    return f" with --{setting}" if setting in FLAGS else ""


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
