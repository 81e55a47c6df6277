"""The configuration: one frozen model that contains the settings of every component.

Components declare their sections (``proxy.settings`` says how). This module has the settings of no
component, and the rules between settings. ``loader`` reads the sources.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, model_validator

from proxy.config.listener_settings import (
    ListenerConfig,
    ListenerName,
    ListenerSettings,
    listener_errors,
)
from proxy.config.login_settings import LoginSettings
from proxy.config.origin_config import AddressSettings, InstitutionSettings, OriginConfig
from proxy.config.setting_types import Institution, ListenAddress, PublicUrl, Secret, address_field
from proxy.forwarding.caller_settings import CallerSettings
from proxy.forwarding.forwarding_settings import (
    AccessSettings,
    CorsSettings,
    HeaderSettings,
    HostName,
    ReplaySettings,
    RouteSetting,
)
from proxy.forwarding.record import MAIN_LISTENER
from proxy.forwarding.routing import Rule, rule_errors
from proxy.server.address import Address
from proxy.server.limits import CallerLimits
from proxy.settings import COMMA_SEPARATED, SecondsOrZero, matching
from proxy.telemetry.telemetry_settings import LogSettings, MetricsSettings, TracingSettings
from proxy.tokens.client_authentication import AuthMethod, BasicEncoding
from proxy.tokens.fleet.store_settings import StoreSettings
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.v1_settings import V1Settings
from proxy.upstream.upstream_settings import UpstreamSettings

LISTEN, ADMIN = "127.0.0.1:8080", "127.0.0.1:9090"
"""Default addresses: for applications; for probes, metrics and the status page."""

SDK_ENVIRONMENTS = {
    "stage": "https://api.stage.candescent.com",
    "production": "https://api.candescent.com",
    "sandbox": "https://api.sandbox.candescent.com",
}
"""The SDK's base URLs for these names, which have no ``/digitalbanking``."""


class Config(AddressSettings, LoginSettings):
    """The whole configuration; its own address and login are those of the default institution."""

    institution_id: Institution = Field(
        description="Default institution, digits with leading zeros."
    )
    allowed_institutions: Annotated[tuple[Institution, ...], COMMA_SEPARATED] = Field(
        (),
        description="Further institutions that callers may name (header institutionId, V1 path).",
    )
    institutions: dict[Institution, InstitutionSettings] = Field(
        {}, description="Further institutions with their own login or address."
    )
    bearer_token: Secret | None = Field(
        None,
        description="Fixed access token for a trial; never refreshed. Never in the file.",
    )
    refresh_token_file: Path | None = Field(
        None, description="File for the refresh token of the authorization_code grant."
    )
    revoke_on_shutdown: bool = Field(
        False,
        description="Revoke V2 tokens at shutdown, even if another proxy with this login "
        "uses them.",
    )
    listen: ListenAddress = address_field(
        LISTEN,
        "Address that applications call: HOST:PORT, PORT (on loopback) or unix:/PATH.",
    )
    admin: ListenAddress = address_field(
        ADMIN,
        "Address of probes, metrics and status page: HOST:PORT, PORT (on loopback) or unix:/PATH.",
    )
    listeners: dict[ListenerName, ListenerSettings] = Field(
        {},
        max_length=32,
        description="Further listeners by name.",
    )
    public_url: PublicUrl | None = Field(
        None,
        description="URL by which applications call the proxy, if not that of `listen`: "
        "http(s)://HOST[:PORT].",
    )
    allowed_hosts: Annotated[tuple[HostName, ...], COMMA_SEPARATED] = Field(
        (),
        description="Further host names of the ports (docs/browsers.md); `*.example.com` "
        "for all names below, `*` for every name.",
    )
    cors: CorsSettings = CorsSettings()
    rewrite_links: bool = Field(
        False, description="Rewrite the bank's URLs in JSON responses to the proxy's."
    )
    relaxed_query_chars: Annotated[str, matching("[{|}]*", "some of { | }, such as {}")] = Field(
        "",
        description="Those of `{`, `|` and `}` that a query may hold unencoded; others "
        "are refused.",
    )
    trust_network: bool = Field(
        False,
        description="Permit ports that other machines can reach without authentication.",
    )
    admin_actions: bool = Field(
        False, description="Allow POST /-/reload and POST /quitquitquit on the admin port."
    )
    status_page: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Status page: `auto` for this machine only, `on` for every client of "
        "the admin port.",
    )
    drain_delay: SecondsOrZero = Field(
        0.0,
        description="Time at shutdown between not ready and not listening, for load balancers.",
    )
    grace_period: SecondsOrZero = Field(
        25.0, description="Time allowed at shutdown for requests in progress."
    )
    reload_interval: SecondsOrZero = Field(
        5.0,
        description="Interval at which files are checked for changes; 0 for never.",
    )
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    metrics: MetricsSettings = MetricsSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    token: RefreshPolicy = RefreshPolicy()
    headers: HeaderSettings = HeaderSettings()
    v1: V1Settings = V1Settings()
    routes: tuple[RouteSetting, ...] = Field(
        (),
        description="Requests that take another token than usual (V1 under /fis/, else V2).",
    )
    access: AccessSettings = AccessSettings()
    callers: CallerSettings = CallerSettings()
    limits: CallerLimits = CallerLimits()
    replay: ReplaySettings = ReplaySettings()
    store: StoreSettings = StoreSettings()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        errors = list(self._errors())
        if errors:
            raise ValueError("\n".join(errors))
        return self

    def _errors(self) -> Iterator[str]:
        if self.environment is None and self.base_url is None:
            yield "environment: set either environment or base_url"
        if self.environment is not None and self.base_url is not None:
            yield "environment: set either environment or base_url, not both"
        yield from self.errors("", needs_client=self.bearer_token is None)
        for institution, login in self.institutions.items():
            yield from login.errors(f"institutions.{institution}.", needs_client=False)
        yield from self._client_errors()
        yield from rule_errors(self.rules)
        if self.bearer_token is not None and self.revoke_on_shutdown:
            yield "revoke_on_shutdown: does not work with bearer_token, which is not revoked"
        if any(not login.chosen_grant.can_be_verified for _, login in self.logins()) and (
            self.refresh_token_file is None
        ):
            yield "refresh_token_file: needed for grant: authorization_code"
        if self.token.margin_min > self.token.margin_max:
            yield "token.margin_min: must not exceed token.margin_max"
        if self.address is not None:
            yield from self._origin_errors()
        yield from self._exposure_errors()
        yield from self._refresh_token_errors()
        yield from listener_errors(self.listener_configs, self.permitted_institutions, self.admin)
        for path, callers in self.caller_sections():
            yield from callers.errors(f"{path}callers.")
        yield from self.store.errors(trust_network=self.trust_network)

    def _client_errors(self) -> Iterator[str]:
        method = self.token.auth_method
        for path, login in self.login_sections():
            yield from login.method_errors(path, method)
        if method is not AuthMethod.BASIC and self.token.basic_encoding is BasicEncoding.FORM:
            yield "token.basic_encoding: form is for token.auth_method: basic"
        if method is not AuthMethod.PRIVATE_KEY_JWT and self.token.assertion_audience is not None:
            yield "token.assertion_audience: needs token.auth_method: private_key_jwt"

    def _origin_errors(self) -> Iterator[str]:
        default = self.url.geturl()
        for institution, settings in self.institutions.items():
            yield from settings.address_errors(
                f"institutions.{institution}.",
                default,
                is_default=institution == self.institution_id,
            )
        origins = self.origins
        if self.bearer_token is not None and len(origins) > 1:
            yield "bearer_token: is for one address; remove those of institutions"
        listening = list(self.listen_addresses())
        for origin in origins:
            yield from origin.errors(listening, trust_network=self.trust_network)

    def _refresh_token_errors(self) -> Iterator[str]:
        used: dict[str, str] = {}
        for path, file in self.refresh_token_files():
            real = os.path.realpath(file)
            if real in used:
                yield (
                    f"{path}refresh_token_file: is {used[real]}refresh_token_file too; "
                    "give each user a file of their own"
                )
            used.setdefault(real, path)
        for name, listener in self.listeners.items():
            is_used = listener.has_login and listener.chosen_grant.has_refresh_token
            if listener.refresh_token_file is not None and not is_used:
                yield (
                    f"listeners.{name}.refresh_token_file: needs a user's login at this listener, "
                    "by grant: authorization_code or password"
                )

    def refresh_token_files(self) -> Iterator[tuple[str, Path]]:
        """Yield every file for refresh tokens, each with the prefix of its setting's name."""
        if self.refresh_token_file is not None:
            yield "", self.refresh_token_file
        for name, listener in self.listeners.items():
            if listener.refresh_token_file is not None:
                yield f"listeners.{name}.", listener.refresh_token_file

    def _exposure_errors(self) -> Iterator[str]:
        if self.trust_network:
            return
        for listener in self.listener_configs:
            yield from listener.exposure_error()
        if not self.admin.is_loopback and self.admin_actions:
            yield (
                f"admin: other machines can reach {self.admin}, and admin_actions is true; listen "
                "on 127.0.0.1, or set trust_network: true"
            )

    def listen_addresses(self) -> Iterator[tuple[str, Address]]:
        """Yield every address that the proxy listens on, with its setting."""
        for listener in self.listener_configs:
            yield f"{listener.path}listen", listener.address
        yield "admin", self.admin

    def files(self) -> Iterator[Path]:
        """Yield every file whose change requires a reload."""
        for _, login in self.login_sections():
            yield from _given(login.client_id_file, login.client_secret_file, login.password_file)
            yield from _given(login.client_key_file)
        for origin in self.origins:
            yield from _given(origin.upstream.certificate_file, origin.upstream.key_file)
            yield from _given(origin.upstream.ca_file, origin.upstream.proxy_password_file)
        yield from self.store.files()
        for _, callers in self.caller_sections():
            yield from callers.files()

    def logins(self) -> Iterator[tuple[str, LoginSettings]]:
        """Yield every institution with its own login, the default one first."""
        yield self.institution_id, self
        yield from self.institutions.items()

    def login_sections(self) -> Iterator[tuple[str, LoginSettings]]:
        """Yield every login, also those of listeners, each with the prefix of its name."""
        for institution, login in self.logins():
            yield "" if login is self else f"institutions.{institution}.", login
        for listener in self.listener_configs:
            if listener.login is not None:
                yield listener.path, listener.login

    def caller_sections(self) -> Iterator[tuple[str, CallerSettings]]:
        """Yield every section ``callers``, each with the prefix of its name."""
        yield "", self.callers
        for name, listener in self.listeners.items():
            if listener.callers is not None:
                yield f"listeners.{name}.", listener.callers

    @cached_property
    def listener_configs(self) -> tuple[ListenerConfig, ...]:
        """Every listener, the main one first."""
        main = ListenerConfig(
            name=MAIN_LISTENER,
            path="",
            address=self.listen,
            institution=self.institution_id,
            permitted_institutions=self.permitted_institutions,
            user=None,
            access=self.access,
            callers=self.callers,
            public_url=self.public_url or "",
            cors=self.cors,
            rewrite_links=self.rewrite_links,
        )
        return main, *(
            main.with_settings(name, settings) for name, settings in self.listeners.items()
        )

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The configured routes."""
        return tuple(Rule(route.pattern, route.token) for route in self.routes)

    @property
    def permitted_institutions(self) -> frozenset[str]:
        """Every institution that callers may name."""
        return frozenset({self.institution_id, *self.allowed_institutions, *self.institutions})

    @property
    def origins(self) -> tuple[OriginConfig, ...]:
        """Every address of the bank, the configuration's own first."""
        own = self.origin_of(self.institution_id)
        return tuple(dict.fromkeys([own, *map(self.origin_of, self.institutions)]))

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The base URL of every origin, the configuration's own first."""
        return tuple(dict.fromkeys(origin.base_url for origin in self.origins))

    def origin_of(self, institution: str) -> OriginConfig:
        """Return the address at which an institution lives."""
        own = OriginConfig("", self.url.geturl(), self.upstream)
        settings = self.institutions.get(institution)
        if settings is None or institution == self.institution_id:
            return own
        base_url = settings.address or own.base_url
        upstream = self.upstream.overridden(settings.upstream)
        if (base_url, upstream) == (own.base_url, own.upstream):
            return own
        return OriginConfig(base_url, base_url, upstream, f"institutions.{institution}.")

    @property
    def url(self) -> SplitResult:
        """The base URL, from ``base_url`` or ``environment``."""
        return urlsplit(self.address or "")


def _given(*files: Path | None) -> Iterator[Path]:
    return (file for file in files if file is not None)


__all__ = ["Address", "Config"]
