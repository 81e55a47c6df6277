"""The settings of V1 token calls: the section ``v1``."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from proxy.settings import Check, Name, matching, setting


def _check_ip_address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("expected an IP address, such as 192.0.2.7") from None


UserAgent = Annotated[
    str,
    matching(
        r"[\x21-\x3a\x3c-\x7e]+/[\x21-\x3a\x3c-\x7e]+(;[\x20-\x7e]+)?",
        "App/Version, such as Desk/1.0",
    ),
]


@dataclass(frozen=True)
class V1Settings:
    """What V1 token calls send about the application."""

    user_agent: UserAgent | None = setting(
        None,
        "User-Agent: {App}/{Version}[/{DeviceID}][;{Platform}].",
    )
    originating_ip: Annotated[str, Check(_check_ip_address)] | None = setting(
        None, "IP address of the calling device."
    )
    offering_id: Name | None = setting(
        None,
        "Name of the client application.",
    )
