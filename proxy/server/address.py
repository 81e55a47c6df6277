"""Where the proxy listens."""

import ipaddress
import re
import socket
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator


class Address(BaseModel):
    """Where to listen: ``HOST:PORT`` (port 0 lets the system choose) or ``unix:PATH``."""

    model_config = ConfigDict(frozen=True)
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    path: str = ""

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.startswith("unix:/"):
            if not hasattr(socket, "AF_UNIX"):  # Windows
                raise ValueError("this system has no Unix sockets; expected HOST:PORT")
            return {"host": "", "port": 0, "path": value.removeprefix("unix:")}
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", value)
        if match is None:
            raise ValueError("expected HOST:PORT or unix:/PATH, such as 127.0.0.1:8080")
        return {"host": match[1] or match[2], "port": match[3]}

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_serializer
    def __str__(self) -> str:
        """Return it as it is written."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
