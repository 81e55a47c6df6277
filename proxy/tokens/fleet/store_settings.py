"""The settings of the token store that a fleet shares: the section ``store``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from proxy.settings import DURATION, Check, Name, Seconds, matching, setting
from proxy.tokens.fleet.url import StoreUrl


def _check_store_url(value: str) -> str:
    StoreUrl.parse(value)
    return value


Prefix = Annotated[str, matching(r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits and . _ -")]


@dataclass(frozen=True)
class StoreSettings:
    """Redis or Valkey through which several proxies share one token."""

    url: Annotated[str, Check(_check_store_url)] | None = setting(
        None,
        "Address: redis://HOST:PORT, redis+sentinel://HOST:PORT,…/NAME or "
        "redis+cluster://HOST:PORT,…; rediss:// for TLS.",
    )
    encryption_key_file: Path | None = setting(
        None,
        "File with encryption keys, one per line: an id and 32 bytes in base64.",
    )
    username: Name | None = setting(
        None,
        "User name; the store's default user if left out.",
    )
    password_file: Path | None = setting(
        None, "File with the password, read for each new connection."
    )
    sentinel_password_file: Path | None = setting(
        None, "File with the Sentinels' password, read for each new connection."
    )
    ca_file: Path | None = setting(
        None,
        "PEM file with the store's certificate authorities; the system's if left out.",
    )
    certificate_file: Path | None = setting(
        None, "PEM file with the client certificate for mutual TLS."
    )
    key_file: Path | None = setting(
        None, "PEM file with the key of `store.certificate_file`, if separate."
    )
    prefix: Prefix = setting(
        "candescent-proxy",
        "Prefix of the record names; a colon follows.",
    )
    timeout: Seconds = setting(
        0.5,
        "Time for one operation, connecting included; then the proxy continues without the store.",
    )
    lease: Annotated[float, Interval(ge=0.5, le=30), DURATION] = setting(
        3.0,
        "Time after which another proxy takes over a token call that stopped.",
    )
    follow: Annotated[float, Interval(ge=0.1, le=3600), DURATION] = setting(
        5.0, "Interval at which the store is read for tokens that others fetched."
    )

    @property
    def address(self) -> StoreUrl:
        """The store's address. Only valid if ``url`` is set."""
        return StoreUrl.parse(self.url or "")

    def files(self) -> Iterator[Path]:
        """Return the files whose change requires a reload.

        Passwords are not among them: each new connection reads them.
        """
        files = (self.encryption_key_file, self.ca_file, self.certificate_file, self.key_file)
        return (file for file in files if file is not None)

    def errors(self, *, trust_network: bool) -> Iterator[str]:
        """Yield an error for each combination that is not allowed.

        ``trust_network`` permits a password without TLS.
        """
        if self.url is None:
            given = sorted(name for name in _NEEDS_URL if getattr(self, name) is not None)
            yield from (f"store.{name}: needs store.url" for name in given)
            return
        if self.encryption_key_file is None:
            yield (
                "store.encryption_key_file: needed with store.url, so that the store holds no "
                'readable tokens; make one with: echo "k1 $(openssl rand -base64 32)"'
            )
        if self.username is not None and self.password_file is None:
            yield "store.username: needs store.password_file"
        if self.key_file is not None and self.certificate_file is None:
            yield "store.key_file: needs store.certificate_file"
        if not self.address.tls:
            yield from self._plain_text_errors(trust_network=trust_network)

    def _plain_text_errors(self, *, trust_network: bool) -> Iterator[str]:
        if self.ca_file is not None or self.certificate_file is not None:
            yield "store.ca_file: certificates are for TLS; set store.url to rediss://…"
        if self.password_file is not None and not trust_network and not self.address.is_loopback:
            yield (
                "store.url: redis:// would send the store's password unencrypted over the "
                "network; use rediss://, or set trust_network: true if nobody can listen there"
            )


_NEEDS_URL = (
    "encryption_key_file",
    "username",
    "password_file",
    "sentinel_password_file",
    "ca_file",
    "certificate_file",
    "key_file",
)
