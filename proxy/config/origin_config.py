"""The bank's addresses: that of the configuration, and those of institutions with their own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field

from proxy.config.login_settings import LoginSettings
from proxy.config.setting_types import Section
from proxy.server.address import Address
from proxy.settings import Check, check_base_url
from proxy.upstream.upstream_settings import UpstreamOverrides, UpstreamSettings

ENVIRONMENTS = {
    "stage": "https://api.candescent.com/digitalbanking/stage",
    "production": "https://api.candescent.com/digitalbanking",
    "sandbox": "https://api.sandbox.candescent.com",
}
"""Base URLs by short name; the vendor's SDK has the same names."""


class AddressSettings(Section):
    """The address of the bank's API."""

    environment: Literal["stage", "production", "sandbox"] | None = Field(
        None, description="Candescent environment; a short form of `base_url`."
    )
    base_url: Annotated[str, Check(check_base_url)] | None = Field(
        None, description="Base URL of the bank's API, with its path."
    )

    @property
    def address(self) -> str | None:
        """The base URL, from ``base_url`` or ``environment``; None without either."""
        return self.base_url or ENVIRONMENTS.get(self.environment or "")


class InstitutionSettings(AddressSettings, LoginSettings):
    """An institution: its login, and its address where it has another than the default one.

    Settings of `upstream` that are left out are those outside; TLS files, and a proxy with its
    user, are each inherited as a whole.
    """

    upstream: UpstreamOverrides = UpstreamOverrides()

    def address_errors(self, path: str, default: str, *, is_default: bool) -> Iterator[str]:
        """Yield errors between settings; names begin with ``path``, ``default`` is a base URL.

        Secrets are not inherited by another address, so that none is sent to the wrong bank.
        """
        if self.environment is not None and self.base_url is not None:
            yield f"{path}environment: set either environment or base_url, not both"
        address = self.address
        if is_default and (address or self.upstream != UpstreamOverrides()):
            yield (
                f"{path}base_url: this is institution_id; set its address and upstream outside of "
                "institutions"
            )
        has_login = self.client_id is not None or self.client_id_file is not None
        if address not in (None, default) and not has_login:
            yield (
                f"{path}client_id: needed with an address of its own; the credentials outside of "
                "institutions are not sent there"
            )


@dataclass(frozen=True, slots=True)
class OriginConfig:
    """One address of the bank with every setting resolved; equal ones are one origin.

    ``name`` is its base URL, empty for the configuration's own. ``path`` is the prefix of its
    settings' names, such as ``institutions.00017.``.
    """

    name: str
    base_url: str
    upstream: UpstreamSettings
    path: str = field(default="", compare=False)

    @property
    def url(self) -> SplitResult:
        """The parts of the base URL."""
        return urlsplit(self.base_url)

    @property
    def is_https(self) -> bool:
        """Whether connections have TLS."""
        return self.url.scheme == "https"

    @property
    def host(self) -> str:
        """The bank's host name."""
        return str(self.url.hostname)

    def errors(
        self, own_listeners: Iterable[tuple[str, Address]], *, trust_network: bool
    ) -> Iterator[str]:
        """Yield an error for an address that must not be called, and for upstream settings.

        ``own_listeners`` are the proxy's own addresses by their setting.
        """
        setting = f"{self.path}base_url"
        if not (trust_network or self.is_https or Address(host=self.host, port=0).is_loopback):
            yield (
                f"{setting}: http:// would send the client secret unencrypted over the network; "
                "use https://, or set trust_network: true if nobody can listen there"
            )
        for listener, address in own_listeners:
            if self._is_reached_by(address):
                yield (
                    f"{setting}: this is the proxy's own address ({listener}), and its "
                    "requests would come back; set the bank's address"
                )
        yield from self.upstream.errors(self.path)

    def _is_reached_by(self, address: Address) -> bool:
        """Whether the URL leads to a listener at ``address``, as far as its text says."""
        if address.path or not address.port or self.port != address.port:
            return False
        is_any = address.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on
        is_local = Address(host=self.host, port=0).is_loopback
        return self.host == address.host or (is_local and (is_any or address.is_loopback))

    @property
    def port(self) -> int:
        """The bank's port."""
        return self.url.port or (443 if self.is_https else 80)
