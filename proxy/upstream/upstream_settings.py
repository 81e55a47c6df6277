"""The settings of connections to the bank: the section ``upstream``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from proxy.http1.fields import RawHeaders
from proxy.settings import Check, Count, Seconds, SecondsOrZero, matching, setting

_EVENT_STREAM = b"text/event-stream"
_PROXY_URL = re.compile(
    r"(?:https?|socks5h?)://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})/?"
)
ENVIRONMENT = "environment"
"""The value of ``upstream.proxy`` that stands for HTTPS_PROXY, ALL_PROXY and NO_PROXY."""


def check_proxy_url(value: str) -> str:
    """Return the URL of an outbound proxy, or ``environment``. Raises ``ValueError``."""
    if value == ENVIRONMENT:
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
        "HTTPS_PROXY, ALL_PROXY and NO_PROXY.",
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

    def errors(self) -> Iterator[str]:
        """Yield an error for each combination of settings that is not allowed."""
        if self.key_file is not None and self.certificate_file is None:
            yield "upstream.key_file: needs upstream.certificate_file"
        if self.system_store and self.ca_file is not None:
            yield "upstream.system_store: set either upstream.ca_file or upstream.system_store"
        if self.proxy is None and (self.proxy_user or self.proxy_password_file):
            yield "upstream.proxy_user: needs upstream.proxy"
        elif (self.proxy_user is None) != (self.proxy_password_file is None):
            yield "upstream.proxy_user: needs upstream.proxy_password_file, and that needs this"
