"""PURE: what the two ends are called, and URLs turned from the bank's name to ours.

A caller knows us by some name, or knows the bank only and has us as its HTTP proxy. Either way it
must not learn of the difference: what the bank says of its own URLs is told in the caller's words.
"""

import re
from functools import lru_cache
from urllib.parse import SplitResult

from proxy.errors import CallerError, kinds
from proxy.forwarding.paths import has_base

LocalAddress = tuple[str, int]
"""Our end of a caller's connection: IP address and port."""

_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(rb"(?:([A-Za-z0-9._~-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")
_LINK = re.compile(rb"<([^<>]*)>")
# Possessive, because three runs of spaces in a row could be divided in very many ways.
_REFRESH = re.compile(
    rb"(\s*+[0-9.]*+\s*+[;,]?+\s*+url\s*+=\s*+[\"']?+)(.*+)", re.IGNORECASE | re.DOTALL
)


class UrlRewriter:
    """The upstream as its base URL names it, and this listener as others name it.

    ``public`` is the URL (scheme, host, port) by which callers reach the listener where that is
    not its own address; empty where there is none.
    """

    def __init__(self, upstream: SplitResult, public: str = "") -> None:
        self.base = upstream.path.encode("ascii")
        scheme = upstream.scheme.encode("ascii")
        self._host = str(upstream.hostname).encode("ascii")
        self._port = upstream.port or _DEFAULT_PORTS[scheme]
        self._uses_default_port = self._port == _DEFAULT_PORTS[scheme]
        bare = b"[%b]" % self._host if b":" in self._host else self._host
        # Scheme and host, then the port in each way that it may be written.
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

    def to_origin_form(
        self, method: str, target: bytes, local: LocalAddress | None
    ) -> tuple[bytes, bytes]:
        """Return path and query of a target that is no path, and the origin that stands in it.

        Only the upstream's own origin and ours pass: where a request goes is not the caller's to
        say. Raises ``CallerError``.
        """
        if method == "CONNECT":
            raise CallerError(kinds.CONNECT)
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
        """Return our origin as a caller knows it that sent this ``Host``; empty if we cannot tell.

        Only names that are surely ours are given back; behind any other one, a path alone leads
        where it should.
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
        """Return the value of a header that holds URLs, as the caller may follow them."""
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
        """Return a URL of the upstream's as one of ours, which leads to the same place.

        ``has_base_path`` when the caller uses the base path, which then stays. What is not below
        the base path is out of our reach and is left alone, as every other URL is.
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
            # Without its base this path must not look like one with it, nor like a host.
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
        # http://bank/ is how one says "through the proxy" what is https://bank/ behind it.
        uses_default_port = self._uses_default_port and port == _DEFAULT_PORTS[scheme]
        is_upstream = host == self._host and (port == self._port or uses_default_port)
        return is_upstream or _is_own_address(host_port, local) or self._is_public(authority)

    def _is_public(self, host: bytes) -> bool:
        return self._public_host_port is not None and self._public_host_port == _host_port(
            self._public_scheme, host
        )


@lru_cache(maxsize=256)
def _host_port(scheme: bytes, authority: bytes) -> tuple[bytes, int] | None:
    """Return host, in lower case, and port of an authority, or None if it is none."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    name, address, port = match.groups()
    return (name or address).lower(), int(port) if port else _DEFAULT_PORTS[scheme]


def _is_own_address(host_port: tuple[bytes, int], local: LocalAddress | None) -> bool:
    """Whether an end is ours: the address that was connected to, or this machine's own name."""
    if local is None or host_port[1] != local[1]:
        return False
    address = local[0].removeprefix("::ffff:")
    is_loopback = address.startswith("127.") or address == "::1"
    return host_port[0] == address.encode("ascii") or (is_loopback and host_port[0] == b"localhost")
