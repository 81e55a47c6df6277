"""The settings of V1 token calls: the section ``v1``."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from proxy.settings import Check, setting


def _check_ip_address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("expected an IP address, such as 192.0.2.7") from None


@dataclass(frozen=True)
class V1Settings:
    """What V1 token calls send about the application."""

    user_agent: str | None = setting(
        None,
        "User-Agent of V1 token calls: {App}/{Version}[/{DeviceID}][;{Platform}].",
        pattern=r"^[\x21-\x3a\x3c-\x7e]+/[\x21-\x3a\x3c-\x7e]+(;[\x20-\x7e]+)?$",
    )
    originating_ip: Annotated[str, Check(_check_ip_address)] | None = setting(
        None, "IP address of the calling device, sent with V1 token calls."
    )
    offering_id: str | None = setting(
        None,
        "Name of the client application, sent with V1 token calls.",
        pattern=r"^[\x21-\x7e]+$",
    )
