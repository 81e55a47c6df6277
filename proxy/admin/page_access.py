"""PURE: who may see the status page. Whoever may not is told so in words.

Web pages of other sites are kept out by ``Sec-Fetch-Site``, names that a stranger has turned to
this machine (DNS rebinding) by ``Host``, and other machines by the address they come from, unless
the operator has let them in.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
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

    def refusal(self, peer: str, headers: Mapping[str, str], *, is_page: bool) -> str:
        """Return why this visitor may not see the page, empty if it may.

        ``peer`` is the address it comes from, empty on a Unix socket; ``headers`` know no case.
        """
        if not self.host:
            return ""
        if not self.allows_any_host and (
            not is_local(peer) or any(name in headers for name in FORWARDED)
        ):
            return (
                "The status page is for the machine that the proxy runs on: the admin port "
                f"{self.address} can be reached from others. Look at it there (in Kubernetes: "
                "kubectl port-forward), or set status_page: on if the network keeps strangers out."
            )
        if not self._knows(headers.get("Host", "")):
            return (
                "The status page is not shown under this name, which could be anybody's. Use "
                "localhost, an IP address, or the name that the setting admin has."
            )
        if is_foreign(headers, is_page=is_page):
            return "Web pages of other sites may not read the status."
        return ""

    def _knows(self, host: str) -> bool:
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?", host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower().removesuffix(".")
        if name == "localhost" or name == self.host.lower():
            return True
        try:
            ipaddress.ip_address(name)  # no name, so nobody can turn it anywhere
        except ValueError:
            return False
        return True


def is_local(peer: str) -> bool:
    """Whether ``peer`` is this machine."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_foreign(headers: Mapping[str, str], *, is_page: bool) -> bool:
    """Whether a web page of another site asks. A link to the page itself may be followed."""
    if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    follows = (
        headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    )
    return not (is_page and follows)
