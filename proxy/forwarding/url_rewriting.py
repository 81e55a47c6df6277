"""Rewrites URLs: request-targets to origin form, and the bank's URLs in responses to the proxy's.

A caller addresses the proxy by its own name, or the bank through it as an HTTP proxy. In both cases
links in responses have to lead through the proxy again.
"""

import re
from urllib.parse import SplitResult

from proxy.errors import CallerError, kinds
from proxy.forwarding.paths import has_base
from proxy.http1.bounded_cache import BoundedCache

LocalAddress = tuple[str, int]
"""The proxy's end of a caller's connection: IP address and port."""

_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*+)(.*+)", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(rb"(?:([A-Za-z0-9._~-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")
_LINK = re.compile(rb"<([^<>]*)>")
# Possessive quantifiers, because adjacent runs of spaces would backtrack polynomially.
_REFRESH = re.compile(
    rb"(\s*+[0-9.]*+\s*+[;,]?+\s*+url\s*+=\s*+[\"']?+)(.*+)", re.IGNORECASE | re.DOTALL
)


class UrlRewriter:
    """Rewrites between the upstream's base URL and a listener's URL.

    ``public`` is the URL (scheme, host, port) by which callers reach the listener if it is not its
    own address; else empty.
    """

    def __init__(self, upstream: SplitResult, public: str = "") -> None:
        self.base = upstream.path.encode("ascii")
        scheme = upstream.scheme.encode("ascii")
        self._host = str(upstream.hostname).encode("ascii")
        self._port = upstream.port or _DEFAULT_PORTS[scheme]
        self._uses_default_port = self._port == _DEFAULT_PORTS[scheme]
        self._speaks_plain_http = scheme == b"http"
        bare = b"[%b]" % self._host if b":" in self._host else self._host
        # Scheme and host, then the port in each form in which it may be written.
        self.origin = scheme + b"://" + bare
        self.ports = (
            (b"", b":%d" % self._port) if self._uses_default_port else (b":%d" % self._port,)
        )
        self._public = public.encode("ascii")
        self._public_scheme, _, authority = self._public.partition(b"://")
        self._public_host_port = _host_port(self._public_scheme, authority) if public else None
        self._url = re.compile(
            rb"(?i:(?:%b:)?//%b)(?:%b)(?=[/?#]|\Z)"
            % (scheme, re.escape(bare), b"|".join(self.ports))
        )

    def may_tunnel(self, target: bytes) -> bool:
        """Whether a CONNECT is permitted: to the upstream on a plain port.

        That is the upstream's own where it speaks plain HTTP, and 80 where it has the default one.
        """
        host_port = _host_port(b"http", target)
        ports = {self._port} if self._speaks_plain_http else set[int]()
        if self._uses_default_port:
            ports.add(_DEFAULT_PORTS[b"http"])
        # RFC 9110 section 9.3.6: the target has a port.
        if host_port is None or not target[-1:].isdigit():
            return False
        return host_port[0] == self._host and host_port[1] in ports

    def to_origin_form(self, target: bytes, local: LocalAddress | None) -> tuple[bytes, bytes]:
        """Return path and query of a target in absolute form, and its origin (RFC 9112, 3.2.2).

        Only the upstream's origin and the proxy's are allowed, because callers must not choose the
        destination. Raises ``CallerError``.
        """
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise CallerError(kinds.TARGET)
        scheme, authority, rest = match.groups()
        if b"@" in authority:
            raise CallerError(kinds.TARGET, "The URL in the request has a user in it.")
        host_port = _host_port(scheme.lower(), authority)
        if host_port is None or not self._is_permitted_origin(
            scheme.lower(), authority, host_port, local
        ):
            raise CallerError(kinds.ORIGIN)
        return rest if rest[:1] == b"/" else b"/" + rest, scheme.lower() + b"://" + authority

    def origin_seen_by_caller(
        self, host: bytes, local: LocalAddress | None, *, secure: bool
    ) -> bytes:
        """Return the proxy's origin as known to a caller that sent this ``Host``; else empty.

        Only the proxy's own addresses and ``public`` are returned. For other names the caller gets
        links without an origin.
        """
        scheme = b"https" if secure else b"http"
        if self._is_public(host):
            return self._public
        host_port = _host_port(scheme, host)
        return (
            scheme + b"://" + host
            if host_port is not None and _is_own_address(host_port, local)
            else b""
        )

    def rewrite_header(
        self, name: bytes, value: bytes, origin: bytes, *, has_base_path: bool
    ) -> bytes:
        """Return the value of a header with URLs, rewritten for the caller."""
        low = name.lower()
        if low == b"link":
            return _LINK.sub(
                lambda match: (
                    b"<" + self.rewrite_url(match[1], origin, has_base_path=has_base_path) + b">"
                ),
                value,
            )
        if low == b"refresh":
            match = _REFRESH.fullmatch(value)
            return (
                match[1] + self.rewrite_url(match[2], origin, has_base_path=has_base_path)
                if match
                else value
            )
        return self.rewrite_url(value, origin, has_base_path=has_base_path)

    def rewrite_url(self, url: bytes, origin: bytes, *, has_base_path: bool) -> bytes:
        """Return the proxy's URL for a URL of the upstream.

        ``has_base_path``: the caller uses the base path, which then stays. URLs that are not below
        the base path, and those of other hosts, are returned unchanged.
        """
        match = self._url.match(url)
        if match is None:
            return url
        rest = url[match.end() :]
        path = rest if rest[:1] == b"/" else b"/" + rest
        bare = re.split(rb"[?#]", path, maxsplit=1)[0]
        if path[:2] == b"//" or not has_base(bare, self.base):
            return url
        if not has_base_path:
            shorter = bare[len(self.base) :]
            # Without the base, the path must look neither like one with it nor like a host.
            if shorter[:1] == b"/" and shorter[:2] != b"//" and not has_base(shorter, self.base):
                path = path[len(self.base) :]
        return origin + path

    def _is_permitted_origin(
        self,
        scheme: bytes,
        authority: bytes,
        host_port: tuple[bytes, int],
        local: LocalAddress | None,
    ) -> bool:
        host, port = host_port
        # A client with an HTTP proxy sends http://bank/ for what is https://bank/ upstream.
        uses_default_port = self._uses_default_port and port == _DEFAULT_PORTS[scheme]
        is_upstream = host == self._host and (port == self._port or uses_default_port)
        return is_upstream or _is_own_address(host_port, local) or self._is_public(authority)

    def _is_public(self, host: bytes) -> bool:
        return self._public_host_port is not None and self._public_host_port == _host_port(
            self._public_scheme, host
        )


def _host_port(scheme: bytes, authority: bytes) -> tuple[bytes, int] | None:
    return _HOST_PORTS[scheme, authority]


def _split_authority(key: tuple[bytes, bytes]) -> tuple[bytes, int] | None:
    """Return host, in lower case, and port of an authority, or None if it is invalid."""
    scheme, authority = key
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    name, address, port = match.groups()
    return (name or address).lower(), int(port) if port else _DEFAULT_PORTS[scheme]


_HOST_PORTS: BoundedCache[tuple[bytes, bytes], tuple[bytes, int] | None] = BoundedCache(
    _split_authority, lambda key: len(key[1])
)


def _is_own_address(host_port: tuple[bytes, int], local: LocalAddress | None) -> bool:
    """Whether it is the address that the caller is connected to, or localhost on loopback."""
    if local is None or host_port[1] != local[1]:
        return False
    address = local[0].removeprefix("::ffff:")
    is_loopback = address.startswith("127.") or address == "::1"
    return host_port[0] == address.encode("ascii") or (is_loopback and host_port[0] == b"localhost")
