"""Access to the status page: from this machine, and from others if ``status_page`` is ``on``."""

import ipaddress
from collections.abc import Container
from dataclasses import dataclass

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers added by a reverse proxy in front: then the client may be on another machine."""


@dataclass(frozen=True, slots=True)
class PageAccess:
    """The admin port: ``address`` as configured, ``host`` empty for a Unix socket.

    ``allows_any_host``: every client may see the page, because only this machine can connect or
    the configuration says so.
    """

    address: str
    host: str
    allows_any_host: bool

    def refusal(self, peer: str, headers: Container[str]) -> str:
        """Return why a client may not see the page; empty if it may.

        ``peer`` is its IP address, empty on a Unix socket; ``headers`` are the names of the
        request's headers, in lower case.
        """
        if not self.host or self.allows_any_host:
            return ""
        if is_local(peer) and not any(name in headers for name in FORWARDED):
            return ""
        return (
            "The status page can be opened only from the proxy's machine, because other machines "
            f"can reach the admin port {self.address}. Open it there (in Kubernetes: kubectl "
            "port-forward), or set status_page: on if the network protects the port."
        )


def is_local(peer: str) -> bool:
    """Whether ``peer`` is this machine."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
