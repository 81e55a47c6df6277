"""Listen addresses: TCP or Unix socket."""

import ipaddress
import re
from dataclasses import dataclass

_FORM = re.compile(r"(?:(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))?:)?(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address (port 0 lets the system choose), or with ``path`` a Unix socket."""

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``HOST:PORT``, ``PORT`` (on 127.0.0.1) or ``unix:/PATH``. Raises ``ValueError``."""
        if text.startswith("unix:/"):
            return cls("", 0, text.removeprefix("unix:"))
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError("expected HOST:PORT or unix:/PATH, such as 127.0.0.1:8080")
        if int(match[3]) > 65_535:
            raise ValueError("expected a port from 0 to 65535, such as 127.0.0.1:8080")
        return cls(match[1] or match[2] or "127.0.0.1", int(match[3]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """Return the address in the form that ``parse`` reads."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
