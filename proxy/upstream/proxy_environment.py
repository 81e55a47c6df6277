"""The outbound proxy of the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

They follow no standard; this is what curl and Go's ``net/http`` have in common.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
"""The schemes of outbound proxies, each with the port of a URL that has none."""


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """The parts of a proxy's URL; ``user`` and ``password`` may be empty."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Return the URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_proxy_url(text: str) -> ProxyUrl:
    """Return the parts of a proxy's URL; one without a scheme is ``http``.

    Raises ``ValueError``, which does not repeat the URL: it may hold a password.
    """
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        port = url.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if "@" in f"{url.path}{url.query}{url.fragment}":
        # An unencoded "/", "?" or "#" in the password: what looks like host and port is secret.
        raise ValueError("is not a URL: encode /, ? and # in its password (%2F, %3F, %23)")
    if url.scheme not in PORTS or not url.hostname or not url.hostname.isascii():
        raise ValueError(f"is not the URL of a proxy ({', '.join(PORTS)})")
    user, password = unquote(url.username or ""), unquote(url.password or "")
    return ProxyUrl(url.scheme, url.hostname, port or PORTS[url.scheme], user, password)


def proxy_variable(
    environ: Mapping[str, str], host: str, port: int, *, https: bool
) -> tuple[str, str] | None:
    """Return name and value of the variable that names the proxy for ``host:port``.

    None where there is none, where NO_PROXY excludes the host, and for this machine itself.
    """
    names = ["HTTPS_PROXY"] if https else ["HTTP_PROXY"]
    if "REQUEST_METHOD" in environ:  # CGI: HTTP_PROXY is a request's header Proxy
        names = [name for name in names if name != "HTTP_PROXY"]
    candidates = [spelling for name in (*names, "ALL_PROXY") for spelling in (name.lower(), name)]
    found = next((name for name in candidates if environ.get(name, "").strip()), None)
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if found is None or _is_local(host) or is_excluded(no_proxy, host, port):
        return None
    return found, environ[found].strip()


def is_excluded(no_proxy: str, host: str, port: int) -> bool:
    """Whether a value of NO_PROXY excludes a host: by name, suffix, IP address, CIDR or ``*``.

    Each may have a port.
    """
    host = host.lower().rstrip(".")
    entries = re.split(r"[,\s]+", no_proxy.strip().lower())
    return any(
        entry == "*" or _holds_address(entry, host, port) or _holds_name(entry, host, port)
        for entry in entries
        if entry
    )


def _holds_name(entry: str, host: str, port: int) -> bool:
    """Whether a name of NO_PROXY is ``host``, or a suffix of it."""
    name = entry.removesuffix(f":{port}").removeprefix("*").strip(".")
    return host == name or host.endswith(f".{name}")


def _holds_address(entry: str, host: str, port: int) -> bool:
    """Whether an IP address or CIDR of NO_PROXY holds the IP address ``host``."""
    with_port = re.fullmatch(r"\[([^\]]+)\]:([0-9]+)|([0-9.]+):([0-9]+)", entry)
    if with_port is not None:
        if int(with_port[2] or with_port[4]) != port:
            return False
        entry = with_port[1] or with_port[3]
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
