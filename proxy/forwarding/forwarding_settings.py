"""The settings of forwarding: the sections headers, access, cors, replay and routes."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from proxy.forwarding.patterns import Pattern
from proxy.settings import COMMA_SEPARATED, SIZE, Check, Convert, matching, setting
from proxy.tokens.token import TokenKind


def _check_pattern(value: str) -> str:
    Pattern.parse(value)
    return value


def _upper_case(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _path_alone(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


Method = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], Convert(_upper_case)
]


@dataclass(frozen=True)
class RequestPattern:
    """Requests by path and method; no ``methods`` means every method."""

    path: Annotated[str, Check(_check_pattern)] = field(
        metadata={
            "description": "Path pattern: `*` is one segment, `**` at the end all that follow."
        }
    )
    methods: Annotated[tuple[Method, ...], COMMA_SEPARATED] = setting(
        (), "Methods, such as GET, POST; every method if left out."
    )

    @property
    def pattern(self) -> Pattern:
        """The pattern in the form that is matched against requests."""
        return Pattern.parse(self.path, frozenset(self.methods))


PathSetting = Annotated[RequestPattern, Convert(_path_alone)]
"""A request pattern, or a path alone as text."""


@dataclass(frozen=True, kw_only=True)
class RouteSetting(RequestPattern):
    """Requests that take a kind of token other than the usual one (V1 under /fis/, else V2)."""

    token: TokenKind = field(metadata={"description": "Kind of token: v1 or v2."})


@dataclass(frozen=True)
class AccessSettings:
    """Resources that callers may use."""

    mode: Literal["enforce", "warn"] = setting(
        "enforce",
        "`enforce` refuses requests that are not allowed, `warn` forwards and counts them.",
    )
    allow: tuple[PathSetting, ...] = setting((), "Requests that callers may send; all if left out.")
    deny: tuple[PathSetting, ...] = setting(
        (), "Requests that callers may not send, even if allowed."
    )


def _check_host_name(value: str) -> str:
    if not re.fullmatch(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", value):
        raise ValueError("expected a host name without a port, *.example.com, or * for every name")
    return value


def _check_web_origin(value: str) -> str:
    form = r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    scheme, port = value.partition(":")[0], value.rpartition(":")[2]
    if not re.fullmatch(form, value) or (scheme, port) in (("http", "80"), ("https", "443")):
        raise ValueError(
            "expected an origin as browsers write it, such as https://app.example.com or "
            "http://localhost:3000, without :80 and :443"
        )
    return value


HostName = Annotated[str, Check(_check_host_name)]
WebOrigin = Annotated[str, Check(_check_web_origin)]


@dataclass(frozen=True)
class CorsSettings:
    """Web pages that may call the proxy (CORS)."""

    allow_origins: Annotated[tuple[WebOrigin, ...], COMMA_SEPARATED] = setting(
        (), "Origins of the pages, such as https://app.example.com."
    )


@dataclass(frozen=True)
class ReplaySettings:
    """Unsafe requests that are sent again after a refused token.

    Only for resources that the bank treats as idempotent, never for payments.
    """

    paths: tuple[PathSetting, ...] = setting((), "Requests that may be sent twice.")
    max_body: Annotated[int, Interval(ge=0, le=1_048_576), SIZE] = setting(
        65_536, "Largest body that is sent again."
    )


PlainPath = Annotated[
    str, matching(r"(/[A-Za-z0-9._~-]+)+", "a path, such as /db-users/v1/institution-users")
]


@dataclass(frozen=True)
class HeaderSettings:
    """Headers that some families of the API need."""

    correlation_id: bool = setting(True, "Add the header correlationId where it is missing.")
    customer_id_paths: tuple[PathSetting, ...] = setting(
        tuple(
            RequestPattern(f"{base}/v1/{family}/**")
            for base in ("", "/*")
            for family in ("alert-preferences", "alert-history", "realtime-events")
        ),
        "Requests that take institutionCustomerId as a header, not in the query.",
    )
    institution_users_path: PlainPath = setting(
        "/db-users/v1/institution-users",
        "Path of the look-up of business users; /v1/institution-users with some base URLs.",
    )
