"""Checks ``Host`` and ``Origin``: protection from web pages in a browser on the same network.

Any page in a browser can send requests to this machine. Two headers distinguish them from an
application's: ``Host``, when a foreign name resolves to this machine (DNS rebinding), and
``Origin`` (RFC 6454 section 7) or ``Sec-Fetch-Site``, when a page of another origin calls. Pages
that the operator allows (``cors.allow_origins``) get CORS responses (Fetch standard, section 3.2).
"""

import ipaddress
import re
from collections.abc import Iterable

from proxy.errors import CallerError, kinds

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::([0-9]{0,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_KNOWN = 64
"""Number of allowed ``Host`` values that are cached."""


class BrowserPolicy:
    """The hosts and the origins that are allowed.

    ``hosts`` are names without a port, in any case; ``*.example.com`` matches every name below
    it, ``*`` all names. IP addresses, ``localhost`` and names below it are always allowed, because
    DNS rebinding cannot use them. ``origins`` are as browsers write them, such as
    ``https://app.example.com``.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        names = [_plain(name) for name in hosts]
        self._allows_any_host = "*" in names
        self._names = frozenset(names)
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self._origins = frozenset(origin.lower().encode("ascii") for origin in origins)
        self._known: set[bytes] = set()

    def check_host(self, host: bytes) -> None:
        """Raise ``CallerError`` (403) for a ``Host`` that is not allowed."""
        if host in self._known:
            return
        text = host.decode("latin-1")
        if not self.allows_host(text):
            raise CallerError(kinds.HOST_NOT_ALLOWED, given=host)
        if len(self._known) < MAX_KNOWN and len(host) <= 255:
            self._known.add(host)

    def allows_host(self, host: str) -> bool:
        """Whether a ``Host`` value, a name or an address with an optional port, is allowed."""
        if self._allows_any_host:
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _plain(match[1] or match[2])
        if name == "localhost" or name.endswith(".localhost") or name in self._names:
            return True
        return name.endswith(self._suffixes) or _is_address(name)

    def check_page(self, host: bytes, origins: list[bytes], fetch_site: bytes) -> bytes:
        """Return the allowed foreign origin of a request; empty without a page or with our own.

        ``origins`` are the values of ``Origin``. Raises ``CallerError`` (403) for a page of an
        origin that is not allowed.
        """
        if len(origins) > 1:
            raise CallerError(kinds.CROSS_SITE, given=b", ".join(origins))
        if origins:
            origin = origins[0]
            if origin.lower() in self._origins:
                return origin
            if not _is_same_authority(origin.decode("latin-1"), host.decode("latin-1")):
                raise CallerError(kinds.CROSS_SITE, given=origin)
        # A browser sends no Origin with a plain GET of a page (an image, a link).
        if fetch_site and fetch_site.lower() not in (b"none", b"same-origin"):
            raise CallerError(kinds.CROSS_SITE, given=fetch_site)
        return b""


def preflight_lines(origin: bytes, headers: bytes, *, private_network: bool) -> list[bytes]:
    """Return the header lines of a preflight response; ``headers`` are the requested ones."""
    lines = cors_lines(origin)
    lines += (
        b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE\r\n",
        b"Access-Control-Max-Age: 600\r\n",
    )
    if headers:
        lines += (b"Access-Control-Allow-Headers: ", headers, b"\r\n")
    if private_network:
        lines.append(b"Access-Control-Allow-Private-Network: true\r\n")
    return lines


def cors_lines(origin: bytes) -> list[bytes]:
    """Return the header lines that allow a page of ``origin`` to read a response."""
    return [
        b"Access-Control-Allow-Origin: ",
        origin,
        b"\r\nAccess-Control-Expose-Headers: *\r\nVary: Origin\r\n",
    ]


def without_cors(lines: list[bytes]) -> list[bytes]:
    """Return a response's header lines, in pieces of four, without the upstream's CORS headers."""
    kept: list[bytes] = []
    for at in range(0, len(lines), 4):
        if not lines[at].lower().startswith(b"access-control-"):
            kept += lines[at : at + 4]
    return kept


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    """Whether it is an IP address, but none by which browsers reach localhost unnoticed.

    They send no ``Sec-Fetch-Site`` to 0.0.0.0, :: and IPv4-mapped addresses, of which
    ::ffff:127.0.0.1 and ::ffff:0.0.0.0 are this machine.
    """
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return not (address.is_unspecified or getattr(address, "ipv4_mapped", None))


def _is_same_authority(origin: str, host: str) -> bool:
    """Whether an origin has the host and port that the request was sent to."""
    scheme, separator, authority = origin.lower().partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False  # "null", and those of browser extensions
    ours = _host_port(host.lower(), scheme)
    return ours is not None and ours == _host_port(authority, scheme)


def _host_port(authority: str, scheme: str) -> tuple[str, int] | None:
    match = _HOST.fullmatch(authority)
    if match is None:
        return None
    return _plain(match[1] or match[2]), int(match[3] or _DEFAULT_PORTS[scheme])
