"""Who may see the status page: this machine, and other machines if the operator permits it."""

import ipaddress
from collections.abc import Container
from dataclasses import dataclass

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""What a proxy in front adds; whoever comes through one is not on this machine."""


@dataclass(frozen=True, slots=True)
class PageAccess:
    """Where the admin port is: ``address`` as it is written, ``host`` empty for a Unix socket.

    ``allows_any_host`` when whoever reaches it may look: only this machine can, or the operator
    said so.
    """

    address: str
    host: str
    allows_any_host: bool

    def refusal(self, peer: str, headers: Container[str]) -> str:
        """Return why this visitor may not see the page, empty if it may.

        ``peer`` is the address it comes from, empty on a Unix socket; ``headers`` has the names
        of its headers, in lower case.
        """
        if not self.host or self.allows_any_host:
            return ""
        if is_local(peer) and not any(name in headers for name in FORWARDED):
            return ""
        return (
            "The status page is for the machine that the proxy runs on: the admin port "
            f"{self.address} can be reached from others. Look at it there (in Kubernetes: "
            "kubectl port-forward), or set status_page: on if the network keeps strangers out."
        )


def is_local(peer: str) -> bool:
    """Whether ``peer`` is this machine."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
