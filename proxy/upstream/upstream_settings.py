"""The settings of connections to the bank: the section ``upstream``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from proxy.http1.fields import RawHeaders
from proxy.settings import Check, Count, Seconds, SecondsOrZero, matching, setting

_EVENT_STREAM = b"text/event-stream"
_PROXY_URL = re.compile(
    r"(?:https?|socks5h?)://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})/?"
)
ENVIRONMENT = "environment"
"""The value of ``upstream.proxy`` that stands for HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

DIRECT = "direct"
"""The value of ``upstream.proxy`` for none, where an institution would inherit one."""

_TOGETHER = (
    ("ca_file", "system_store"),
    ("certificate_file", "key_file"),
    ("proxy", "proxy_user", "proxy_password_file"),
)
"""Settings that are inherited together: a key, or the password of a proxy, belongs to one."""


def check_proxy_url(value: str) -> str:
    """Return an outbound proxy's URL, ``environment`` or ``direct``. Raises ``ValueError``."""
    if value in (ENVIRONMENT, DIRECT):
        return value
    if "@" in value:
        raise ValueError(
            "must not contain a user; set upstream.proxy_user and upstream.proxy_password_file"
        )
    match = _PROXY_URL.fullmatch(value)
    if match is None or not 0 < int(match[2]) < 65_536:
        raise ValueError(
            "expected environment, or the URL of an http, https, socks5 or socks5h proxy with its "
            "port, such as http://proxy.example:3128"
        )
    return value.rstrip("/")


UserName = Annotated[str, matching(r"[\x21-\x39\x3b-\x7e]+", "a name without spaces and colons")]


@dataclass(frozen=True)
class UpstreamSettings:
    """Connections to the bank."""

    ca_file: Path | None = setting(
        None,
        "PEM file with the bank's certificate authorities; the system's if left out.",
    )
    system_store: bool = setting(
        False, "Let the operating system verify the bank's certificate, by its certificate store."
    )
    certificate_file: Path | None = setting(
        None, "PEM file with the client certificate for mutual TLS."
    )
    key_file: Path | None = setting(
        None, "PEM file with the key of `upstream.certificate_file`, if separate."
    )
    proxy: Annotated[str, Check(check_proxy_url)] | None = setting(
        None,
        "Outbound proxy: http, https, socks5 or socks5h://HOST:PORT; `environment` for "
        "HTTPS_PROXY, ALL_PROXY and NO_PROXY, `direct` for none.",
    )
    proxy_user: UserName | None = setting(
        None,
        "User name at `upstream.proxy` (Basic or SOCKS 5).",
    )
    proxy_password_file: Path | None = setting(
        None, "File with the password of `upstream.proxy_user`."
    )
    connect_timeout: Seconds = setting(5.0, "Time to open a connection, TLS handshake included.")
    dns_ttl: SecondsOrZero = setting(
        30.0, "Time for which the addresses of a looked-up name are used."
    )
    dns_max_stale: SecondsOrZero = setting(
        3600.0, "Time for which they are used beyond `upstream.dns_ttl` when a look-up fails."
    )
    first_byte_timeout: Seconds = setting(
        60.0, "Time from the last byte of a request to the headers of the response."
    )
    idle_timeout: Seconds = setting(60.0, "Longest pause within a response body.")
    stream_idle: Seconds | None = setting(
        None,
        "Longest pause within server-sent events (`text/event-stream`); `upstream.idle_timeout` if "
        "left out.",
    )
    total_timeout: Seconds = setting(600.0, "Time for a request and its response, bodies included.")
    max_connections: Count = setting(128, "Limit of open connections to the bank.")
    max_waiting: Count = setting(
        1024, "Limit of requests that wait for a connection; more get 503."
    )
    max_wait: Seconds = setting(5.0, "Longest wait of a request for a connection; then 503.")
    max_idle_age: Seconds = setting(30.0, "Time after which an unused connection is closed.")
    max_age: Seconds = setting(600.0, "Age at which a connection is closed, to follow DNS changes.")

    retry: bool = setting(
        True,
        "Retry a request once if nothing of it has been sent: the connection was refused, or "
        "closed before.",
    )

    def idle_timeout_of(self, headers: RawHeaders) -> float:
        """Return the longest pause, in seconds, within the body of a response."""
        if self.stream_idle is not None:
            for name, value in headers:
                if name.lower() == b"content-type" and value.lower().startswith(_EVENT_STREAM):
                    return self.stream_idle
        return self.idle_timeout

    def errors(self, path: str = "") -> Iterator[str]:
        """Yield an error for each combination of settings that is not allowed.

        Names of settings begin with ``path``.
        """
        section = f"{path}upstream"
        if self.key_file is not None and self.certificate_file is None:
            yield f"{section}.key_file: needs {section}.certificate_file"
        if self.system_store and self.ca_file is not None:
            yield (
                f"{section}.system_store: set either {section}.ca_file or {section}.system_store"
            )
        if self.proxy is None and (self.proxy_user or self.proxy_password_file):
            yield f"{section}.proxy_user: needs {section}.proxy"
        elif (self.proxy_user is None) != (self.proxy_password_file is None):
            yield (
                f"{section}.proxy_user: needs {section}.proxy_password_file, and that needs this"
            )

    def overridden(self, overrides: "UpstreamOverrides") -> "UpstreamSettings":
        """Return these settings with those of an institution in their place."""
        own = {name: value for name, value in vars(overrides).items() if value is not None}
        defaults = UpstreamSettings()
        for names in _TOGETHER:
            if any(name in own for name in names):
                own = {name: getattr(defaults, name) for name in names} | own
        return replace(self, **own)


def _optional() -> Any:
    """Return a class with the settings of ``UpstreamSettings``, each None if it is left out."""
    hints = get_type_hints(UpstreamSettings, include_extras=True)
    return make_dataclass(
        "UpstreamOverrides",
        [
            (one.name, hints[one.name] | None, setting(None, one.metadata["description"]))
            for one in fields(UpstreamSettings)
        ],
        frozen=True,
        namespace={"__doc__": "Connections to the bank at an institution's own address."},
    )


if TYPE_CHECKING:
    UpstreamOverrides = UpstreamSettings
else:
    UpstreamOverrides = _optional()
