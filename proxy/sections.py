"""The parts of the configuration, each a frozen model. Times are seconds, sizes bytes."""

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from proxy.patterns import Pattern
from proxy.tokens.grants import Grant
from proxy.tokens.token import TokenKind


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _institution(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", value):
        raise ValueError("an institution is written in digits, with its leading zeros")
    return value


def comma_separated(value: object) -> object:
    """Return the parts of a comma-separated text; anything else as it is."""
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


def check_base_url(value: str) -> str:
    """Return a base URL without the slash at its end. Raises ``ValueError``."""
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


def _is_pattern(value: str) -> str:
    Pattern.parse(value)
    return value


PathPattern = Annotated[str, AfterValidator(_is_pattern)]
Method = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class PathSetting(Section):
    """Requests by path and method; a path alone may be written as plain text."""

    path: PathPattern
    methods: Annotated[tuple[Method, ...], BeforeValidator(comma_separated)] = ()

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @property
    def pattern(self) -> Pattern:
        """The pattern that it stands for."""
        return Pattern.parse(self.path, frozenset(self.methods))


class RouteSetting(PathSetting):
    """Which token a path takes, before the default (V1 under ``/fis/``, else V2)."""

    token: TokenKind


class AccessSettings(Section):
    """Which resources callers may use; ``deny`` wins, an empty ``allow`` allows the rest."""

    mode: Literal["enforce", "warn"] = "enforce"
    allow: tuple[PathSetting, ...] = ()
    deny: tuple[PathSetting, ...] = ()


class HeaderSettings(Section):
    """Headers that some families of the API ask for."""

    correlation_id: bool = Field(True, description="add correlationId where the caller sent none")
    customer_id_paths: tuple[PathSetting, ...] = Field(
        (
            PathSetting(path="/alert-preferences/**"),
            PathSetting(path="/alert-history/**"),
            PathSetting(path="/real-time-events/**"),
        ),
        description="where institutionCustomerId is a header instead of a query parameter",
    )


class LegacySettings(Section):
    """What V1 token calls say about the application."""

    user_agent: (
        Annotated[
            str, Field(pattern=r"^[\x21-\x3a\x3c-\x7e]+/[\x21-\x3a\x3c-\x7e]+(;[\x20-\x7e]+)?$")
        ]
        | None
    ) = Field(None, description="{App}/{Version}[/{DeviceID}][;{Platform}]")
    originating_ip: IPv4Address | IPv6Address | None = None
    offering_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")] | None = None


class LoginSettings(Section):
    """With what the tokens of one institution are obtained, and for whom its calls are made."""

    client_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the Shared Key"
    )
    client_id_file: Path | None = None
    client_secret: SecretStr | None = Field(None, description="the Secret Key; for development")
    client_secret_file: Path | None = None
    grant: Literal["client_credentials", "password", "authorization_code"] | None = Field(
        None, description="password if a username is set, else client_credentials"
    )
    username: Annotated[str, Field(min_length=1)] | None = None
    password: SecretStr | None = Field(None, description="for development; else password_file")
    password_file: Path | None = None
    scopes: str | None = Field(None, description="of V2 tokens; all that are allowed if left out")
    host_user_id: Annotated[str, Field(min_length=1)] | None = None
    login_id: Annotated[str, Field(min_length=1)] | None = None
    member_number: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="TIN or EIN of a business user, who is then looked up"
    )
    institution_customer_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")] | None = None

    @property
    def chosen_grant(self) -> Grant:
        """The grant that is set, or the one that the other settings mean."""
        if self.grant is not None:
            return Grant(self.grant)
        return Grant.PASSWORD if self.username else Grant.CLIENT_CREDENTIALS

    def mistakes(self, path: str, *, needs_client: bool) -> list[str]:
        """Return what does not fit together, each with its path below ``path``."""
        found = []
        for first, second in (
            ("client_id", "client_id_file"),
            ("client_secret", "client_secret_file"),
            ("password", "password_file"),
        ):
            if getattr(self, first) is not None and getattr(self, second) is not None:
                found.append(f"{path}{first}: set either {first} or {second}, not both")
        has_id = self.client_id is not None or self.client_id_file is not None
        has_secret = self.client_secret is not None or self.client_secret_file is not None
        if not has_id and (needs_client or has_secret):
            found.append(f"{path}client_id: set either client_id or client_id_file")
        if not has_secret and (needs_client or has_id):
            found.append(f"{path}client_secret: set either client_secret or client_secret_file")
        return found + self._grant_mistakes(path) + self._user_mistakes(path)

    def _grant_mistakes(self, path: str) -> list[str]:
        has_password = self.password is not None or self.password_file is not None
        if self.chosen_grant is Grant.PASSWORD:
            found = [] if self.username else [f"{path}username: the password grant needs one"]
            if not has_password:
                found.append(f"{path}password: set either password or password_file")
            return found
        if self.username or has_password:
            return [f"{path}username: only the password grant takes username and password"]
        return []

    def _user_mistakes(self, path: str) -> list[str]:
        found = []
        if self.host_user_id and self.login_id:
            found.append(f"{path}host_user_id: set host_user_id or login_id, not both")
        if self.member_number and not self.login_id:
            found.append(f"{path}member_number: is looked up by login_id, which is not set")
        if self.member_number and self.institution_customer_id:
            found.append(f"{path}member_number: institution_customer_id is set already")
        return found
