"""Types of settings that need pydantic: sections, secrets, institutions, addresses, URLs."""

import re
import socket
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
)

from proxy.server.address import Address
from proxy.settings import split_url


class Section(BaseModel):
    """A frozen part of the configuration. Unknown keys are errors, also in nested sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _institution(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", value):
        raise ValueError("expected 1 to 20 digits with leading zeros, such as 00016")
    return value


def _one_line(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip("\r\n")
    if not (text.isascii() and text.isprintable()):
        raise ValueError("expected one line of printable ASCII")
    return SecretStr(text)


def check_client_id(value: str) -> str:
    """Return a client id without a line end. Raises ``ValueError``.

    RFC 7617 section 2: in Basic credentials the first colon ends the id.
    """
    text = value.strip("\r\n")
    if not text or ":" in text or not (text.isascii() and text.isprintable()):
        raise ValueError("expected one line of printable ASCII without a colon")
    return text


def check_public_url(value: str) -> str:
    """Return the URL of a server, without a path. Raises ``ValueError``."""
    url = value.rstrip("/")
    if not re.fullmatch(r"https?://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", url):
        raise ValueError("expected http://HOST[:PORT] or https://…, without a path")
    _ = split_url(url).port
    return url


def parse_address(text: str) -> Address:
    """Return an address that this system can listen on. Raises ``ValueError``."""
    address = Address.parse(text)
    if address.path and not hasattr(socket, "AF_UNIX"):  # Windows
        raise ValueError("this system has no Unix sockets; expected HOST:PORT")
    return address


Secret = Annotated[SecretStr, AfterValidator(_one_line)]
ClientId = Annotated[str, AfterValidator(check_client_id)]
Institution = Annotated[str, AfterValidator(_institution)]
PublicUrl = Annotated[str, AfterValidator(check_public_url)]
ListenAddress = Annotated[
    Address,
    BeforeValidator(lambda value: parse_address(value) if isinstance(value, str) else value),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^((.*:)?[0-9]{1,5}|unix:/.+)$"}),
]


def address_field(default: str, description: str) -> Any:
    """Return the field of a ``ListenAddress``; the JSON Schema shows ``default`` unchanged."""
    return Field(
        Address.parse(default), description=description, json_schema_extra={"default": default}
    )
