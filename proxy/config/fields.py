"""What settings are made of: addresses, URLs, secrets, numbers with a unit, patterns of paths."""

import re
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)

from proxy.forwarding.patterns import Pattern
from proxy.server.address import Address


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _institution(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", value):
        raise ValueError("an institution is written in digits, with its leading zeros")
    return value


def _one_line(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip("\r\n")
    if not (text.isascii() and text.isprintable()):
        raise ValueError("expected one line of printable ASCII")
    return SecretStr(text)


def comma_separated(value: object) -> object:
    """Return the parts of a comma-separated text; anything else as it is."""
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


def check_base_url(value: str) -> str:
    """Return a base URL without the slash at its end. Raises ``ValueError``."""
    url = _split(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("expected http://HOST[:PORT][/PATH] or https://…")
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("a base URL has no user, query or fragment")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", url.path):
        raise ValueError("the path of a base URL is plain text")
    _ = url.port
    return value.rstrip("/")


def check_public_url(value: str) -> str:
    """Return the URL of a server as a whole, without a path. Raises ``ValueError``."""
    url = value.rstrip("/")
    if not re.fullmatch(r"https?://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", url):
        raise ValueError("expected http://HOST[:PORT] or https://…, without a path")
    _ = _split(url).port
    return url


def check_proxy_url(value: str) -> str:
    """Return the URL of an outbound proxy. Raises ``ValueError``."""
    url = _split(value)
    if url.scheme != "http" or not url.hostname or not url.port or url.path.rstrip("/"):
        raise ValueError("expected http://HOST:PORT")
    if url.username or url.password:
        raise ValueError("no user stands in it; use proxy_user and proxy_password_file")
    return value.rstrip("/")


def _split(value: str) -> SplitResult:
    # urlsplit takes spaces and drops line ends; a host name goes into headers as ASCII.
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("expected plain ASCII without spaces, a host name as xn--…")
    return urlsplit(value)


Secret = Annotated[SecretStr, AfterValidator(_one_line)]
Institution = Annotated[str, AfterValidator(_institution)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
ListenAddress = Annotated[
    Address, WithJsonSchema({"type": "string", "pattern": "^(.+:[0-9]{1,5}|unix:/.+)$"})
]


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
