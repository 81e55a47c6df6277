"""The setting that puts a fleet on one token, and what goes with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.config.fields import Seconds, Section
from proxy.server.address import Address
from proxy.tokens.fleet.url import StoreUrl


def _check_store_url(value: str) -> str:
    StoreUrl.parse(value)
    return value


class StoreSettings(Section):
    """A Redis or Valkey by which many proxies live on one token. Times in seconds."""

    url: Annotated[str, AfterValidator(_check_store_url)] | None = Field(
        None,
        description="redis://HOST:PORT, redis+sentinel://HOST:PORT,…/NAME or "
        "redis+cluster://HOST:PORT,…; rediss for TLS; off if left out",
    )
    encryption_key_file: Path | None = Field(
        None, description="the keys that seal tokens: an id and 32 bytes in base64 on each line"
    )
    username: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")] | None = Field(
        None, description="whom the store knows; its default user if left out"
    )
    password_file: Path | None = Field(
        None, description="a file with the password, read for each new connection"
    )
    sentinel_password_file: Path | None = Field(
        None, description="the same for the Sentinels, where they ask for one"
    )
    ca_file: Path | None = Field(None, description="PEM; the system's authorities if left out")
    certificate_file: Path | None = Field(None, description="PEM; shown to the store")
    key_file: Path | None = Field(None, description="PEM; the key of certificate_file")
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        "candescent-proxy", description="what the names of records begin with; `:` follows"
    )
    timeout: Seconds = Field(
        0.5, description="for one step, connecting included; then it goes on without the store"
    )
    lease: Annotated[float, Field(ge=0.5, le=30)] = Field(
        3.0, description="after so long another takes over from one that died while it asked"
    )
    follow: Annotated[float, Field(ge=0.1, le=3600)] = Field(
        5.0, description="between two looks for what others got, or saw refused"
    )

    @property
    def address(self) -> StoreUrl:
        """Where the store is. Only where ``url`` is set."""
        return StoreUrl.parse(self.url or "")

    def files(self) -> Iterator[Path]:
        """Return the files whose change means another configuration.

        Passwords are not among them: each new connection reads them.
        """
        files = (self.encryption_key_file, self.ca_file, self.certificate_file, self.key_file)
        return (file for file in files if file is not None)

    def errors(self, *, trust_network: bool) -> Iterator[str]:
        """Return what does not fit together."""
        if self.url is None:
            given = self.model_fields_set & _NEEDS_URL
            yield from (f"store.{name}: needs store.url" for name in sorted(given))
            return
        if self.encryption_key_file is None:
            yield (
                "store.encryption_key_file: needed with store.url, which must not see tokens; "
                'make one with: echo "k1 $(openssl rand -base64 32)"'
            )
        if self.username is not None and self.password_file is None:
            yield "store.username: goes with store.password_file"
        if self.key_file is not None and self.certificate_file is None:
            yield "store.key_file: needs store.certificate_file"
        if not self.address.tls:
            if self.ca_file is not None or self.certificate_file is not None:
                yield "store.ca_file: is for rediss://, which speaks TLS"
            if self.password_file is not None and not trust_network and not self._is_private():
                yield (
                    "store.url: redis:// would send the store's password in clear over the "
                    "network; use rediss://, or set trust_network: true if nobody can listen there"
                )

    def _is_private(self) -> bool:
        return all(Address(host=host, port=port).is_loopback for host, port in self.address.nodes)


_NEEDS_URL = {
    "encryption_key_file",
    "username",
    "password_file",
    "sentinel_password_file",
    "ca_file",
    "certificate_file",
    "key_file",
}
