"""The configuration: one frozen model, and how it is read from file, environment and flags.

Later ones win: the YAML file, then ``CANDESCENT_…`` variables, then flags. Every scalar is read
as it is written, so ``institution_id: 00016`` keeps its zeros. All mistakes are reported at
once, each with its path.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

ENVIRONMENTS = {
    "stage": "https://api.candescent.com/digitalbanking/stage",
    "production": "https://api.candescent.com/digitalbanking",
}
"""Base URLs by the short names that the vendor's SDK knows too."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _institution(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", value):
        raise ValueError("an institution is written in digits, with its leading zeros")
    return value


def _comma_separated(value: object) -> object:
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


def _base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("expected http://HOST[:PORT][/PATH] or https://…")
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("a base URL has no user, query or fragment")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", url.path):
        raise ValueError("the path of a base URL is plain text")
    _ = url.port
    return value.rstrip("/")


class Address(BaseModel):
    """A host and port to listen on, written ``HOST:PORT``; port 0 lets the system choose."""

    model_config = ConfigDict(frozen=True)
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", value)
        if match is None:
            raise ValueError("expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
        return {"host": match[1] or match[2], "port": match[3]}

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Institution = Annotated[str, AfterValidator(_institution)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
ListenAddress = Annotated[
    Address, Field(json_schema_extra={"type": "string", "pattern": "^.+:[0-9]{1,5}$"})
]


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: readable on a terminal, JSON otherwise"
    )
    access: Literal["off", "sampled", "on"] = Field(
        "sampled", description="one line a request; errors are written unless off"
    )
    sample: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="the share of good requests that `sampled` writes"
    )


class UpstreamSettings(Section):
    """How the bank is spoken to. Times and ages in seconds."""

    ca_file: Path | None = Field(None, description="PEM; the system's authorities if left out")
    connect_timeout: Seconds = 5.0
    first_byte_timeout: Seconds = 60.0
    idle_timeout: Seconds = 60.0
    total_timeout: Seconds = 600.0
    max_connections: Count = 128
    max_waiting: Count = 1024
    max_wait: Seconds = 5.0
    max_idle_age: Seconds = 30.0
    max_age: Seconds = 600.0


class TokenSettings(Section):
    """When tokens are renewed. Times in seconds; see the refresh policy in the documentation."""

    timeout: Seconds = 10.0
    margin_min: Seconds = 60.0
    margin_max: Seconds = 300.0
    margin_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    jitter_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    jitter_max: Seconds = 60.0
    min_interval: Seconds = 10.0
    backoff_initial: Seconds = 1.0
    backoff_max: Seconds = 60.0
    throttle_initial: Seconds = 10.0
    throttle_max: Seconds = 300.0
    refusal_memory: Seconds = 60.0
    idle: Seconds = Field(3600.0, description="an unused institution's token is then let go")


class HeaderSettings(Section):
    """Headers that some families of the API ask for."""

    correlation_id: bool = Field(True, description="add correlationId where the caller sent none")


class Config(Section):
    """The whole configuration."""

    environment: Literal["stage", "production"] | None = Field(
        None, description="a short name for base_url"
    )
    base_url: Annotated[str, AfterValidator(_base_url)] | None = Field(
        None, description="the API's base URL, with its path"
    )
    institution_id: Institution = Field(description="digits, leading zeros kept")
    allowed_institutions: Annotated[tuple[Institution, ...], BeforeValidator(_comma_separated)] = ()
    client_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the Shared Key"
    )
    client_id_file: Path | None = None
    client_secret: SecretStr | None = Field(None, description="the Secret Key; for development")
    client_secret_file: Path | None = None
    listen: ListenAddress = Address(host="127.0.0.1", port=8080)
    admin: ListenAddress = Address(host="127.0.0.1", port=9090)
    trust_network: bool = Field(
        False, description="the operator's word that the network keeps strangers from a port"
    )
    grace_period: Annotated[float, Field(ge=0, le=3600)] = Field(
        25.0, description="seconds that running requests are given at shutdown"
    )
    log: LogSettings = LogSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    token: TokenSettings = TokenSettings()
    headers: HeaderSettings = HeaderSettings()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        mistakes = [
            *self._one_of("environment", "base_url"),
            *self._one_of("client_id", "client_id_file"),
            *self._one_of("client_secret", "client_secret_file"),
        ]
        for name in ("listen", "admin"):
            address: Address = getattr(self, name)
            if not address.is_loopback and not self.trust_network:
                mistakes.append(
                    f"{name}: {address} can be reached from other machines, and callers are not "
                    "asked who they are; listen on 127.0.0.1, or set trust_network: true if the "
                    "network keeps strangers out"
                )
        if self.token.margin_min > self.token.margin_max:
            mistakes.append("token.margin_min: must not exceed token.margin_max")
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return self

    def _one_of(self, first: str, second: str) -> list[str]:
        given = [name for name in (first, second) if getattr(self, name) is not None]
        if len(given) == 1:
            return []
        return [f"{first}: set either {first} or {second}" + (", not both" if given else "")]

    @property
    def url(self) -> SplitResult:
        """The base URL, wherever it came from."""
        return urlsplit(self.base_url or ENVIRONMENTS[str(self.environment)])
