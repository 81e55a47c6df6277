"""The configuration: one frozen model of everything that can be set.

How it is read from file, environment and flags, and how mistakes are told, stands in
``settings``; its parts stand in ``sections``.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from proxy.config.fields import Institution, ListenAddress, Secret, check_base_url, comma_separated
from proxy.config.listeners import (
    ListenerConfig,
    ListenerName,
    ListenerSettings,
    PublicUrl,
    listener_errors,
)
from proxy.config.sections import (
    AccessSettings,
    CallerSettings,
    HeaderSettings,
    LegacySettings,
    LimitSettings,
    LoginSettings,
    LogSettings,
    ReplaySettings,
    RouteSetting,
    TokenSettings,
    TracingSettings,
    UpstreamSettings,
)
from proxy.config.store_settings import StoreSettings
from proxy.forwarding.record import MAIN_LISTENER
from proxy.forwarding.routing import Rule, rule_errors
from proxy.server.address import Address

ENVIRONMENTS = {
    "stage": "https://api.candescent.com/digitalbanking/stage",
    "production": "https://api.candescent.com/digitalbanking",
}
"""Base URLs by the short names that the vendor's SDK knows too."""


class Config(LoginSettings):
    """The whole configuration; its login is the default institution's."""

    environment: Literal["stage", "production"] | None = Field(
        None, description="a short name for base_url"
    )
    base_url: Annotated[str, AfterValidator(check_base_url)] | None = Field(
        None, description="the API's base URL, with its path"
    )
    institution_id: Institution = Field(description="digits, leading zeros kept")
    allowed_institutions: Annotated[tuple[Institution, ...], BeforeValidator(comma_separated)] = (
        Field((), description="others that callers may ask for by institutionId or V1 path")
    )
    institutions: dict[Institution, LoginSettings] = Field(
        {}, description="allowed institutions with a login of their own"
    )
    bearer_token: Secret | None = Field(
        None, description="for a quick trial: sent as it is, never refreshed"
    )
    refresh_token_file: Path | None = Field(
        None, description="where the authorization_code grant keeps its refresh token"
    )
    revoke_on_shutdown: bool = Field(
        False, description="revoke V2 tokens at the end; a sibling may be using the same"
    )
    listen: ListenAddress = Field(
        Address(host="127.0.0.1", port=8080),
        description="where applications call: HOST:PORT or unix:/PATH",
    )
    admin: ListenAddress = Field(
        Address(host="127.0.0.1", port=9090),
        description="probes and metrics: HOST:PORT or unix:/PATH",
    )
    listeners: dict[ListenerName, ListenerSettings] = Field(
        {},
        max_length=32,
        description="further ports, each for an application of its own",
    )
    public_url: PublicUrl | None = Field(
        None, description="http(s)://HOST[:PORT] by which `listen` is called, if not its address"
    )
    rewrite_links: bool = Field(
        False, description="tell the bank's URLs in JSON answers as the proxy's"
    )
    trust_network: bool = Field(
        False, description="the operator's word that the network keeps strangers from a port"
    )
    admin_actions: bool = Field(
        False, description="allow POST /-/reload and POST /quitquitquit on the admin port"
    )
    status_page: Literal["auto", "on", "off"] = Field(
        "auto",
        description="on the admin port; auto shows it to this machine only, on to whoever "
        "reaches the port",
    )
    drain_delay: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.0, description="seconds between not ready and not listening, for load balancers to see"
    )
    grace_period: Annotated[float, Field(ge=0, le=3600)] = Field(
        25.0, description="seconds that running requests are given at shutdown"
    )
    reload_interval: Annotated[float, Field(ge=0, le=3600)] = Field(
        5.0, description="seconds between looks at the files that may change; 0 for never"
    )
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    token: TokenSettings = TokenSettings()
    headers: HeaderSettings = HeaderSettings()
    v1: LegacySettings = LegacySettings()
    routes: tuple[RouteSetting, ...] = Field((), description="which paths take which token")
    access: AccessSettings = AccessSettings()
    callers: CallerSettings = CallerSettings()
    limits: LimitSettings = LimitSettings()
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
        yield from rule_errors(self.rules)
        if self.bearer_token is not None and self.revoke_on_shutdown:
            yield "revoke_on_shutdown: a bearer_token given by hand is not the proxy's to revoke"
        if any(not login.chosen_grant.can_be_verified for _, login in self.logins()) and (
            self.refresh_token_file is None
        ):
            yield "refresh_token_file: the authorization_code grant needs one"
        if self.token.margin_min > self.token.margin_max:
            yield "token.margin_min: must not exceed token.margin_max"
        if self.base_url and not self.trust_network and not _is_private(urlsplit(self.base_url)):
            yield (
                "base_url: http:// would send the client secret in clear over the network; use "
                "https://, or set trust_network: true if nobody can listen there"
            )
        yield from self._exposure_errors()
        yield from listener_errors(self.listener_configs, self.permitted_institutions)
        for path, callers in self.caller_sections():
            yield from callers.errors(f"{path}callers.")
        yield from self._upstream_errors()
        yield from self.store.errors(trust_network=self.trust_network)

    def _exposure_errors(self) -> Iterator[str]:
        if self.trust_network:
            return
        for listener in self.listener_configs:
            yield from listener.exposure_error()
        if not self.admin.is_loopback and self.admin_actions:
            yield (
                f"admin: {self.admin} can be reached from other machines, and admin_actions are "
                "allowed; listen on 127.0.0.1, or set trust_network: true"
            )

    def _upstream_errors(self) -> Iterator[str]:
        upstream = self.upstream
        if upstream.key_file is not None and upstream.certificate_file is None:
            yield "upstream.key_file: needs upstream.certificate_file"
        if upstream.proxy is None and (upstream.proxy_user or upstream.proxy_password_file):
            yield "upstream.proxy_user: needs upstream.proxy"
        if (upstream.proxy_user is None) != (upstream.proxy_password_file is None):
            yield "upstream.proxy_user: goes with upstream.proxy_password_file, and it with this"

    def files(self) -> Iterator[Path]:
        """Return every file whose change means another configuration."""
        for _, login in self.logins():
            yield from _given(login.client_id_file, login.client_secret_file, login.password_file)
        yield from _given(self.upstream.certificate_file, self.upstream.key_file)
        yield from _given(self.upstream.ca_file, self.upstream.proxy_password_file)
        yield from self.store.files()
        for _, callers in self.caller_sections():
            yield from callers.files()

    def logins(self) -> Iterator[tuple[str, LoginSettings]]:
        """Return every institution that has a login of its own, the default one first."""
        yield self.institution_id, self
        yield from self.institutions.items()

    def caller_sections(self) -> Iterator[tuple[str, CallerSettings]]:
        """Return every section ``callers``, and what stands in front of its name."""
        yield "", self.callers
        for name, listener in self.listeners.items():
            if listener.callers is not None:
                yield f"listeners.{name}.", listener.callers

    @cached_property
    def listener_configs(self) -> tuple[ListenerConfig, ...]:
        """Every way in, that of ``listen`` first."""
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
        """Every institution that a caller may ask for."""
        return frozenset({self.institution_id, *self.allowed_institutions, *self.institutions})

    @property
    def url(self) -> SplitResult:
        """The base URL, wherever it came from."""
        return urlsplit(self.base_url or ENVIRONMENTS[str(self.environment)])


def _is_private(url: SplitResult) -> bool:
    """Whether nobody on the way to ``url`` can listen."""
    return url.scheme == "https" or Address(host=str(url.hostname), port=0).is_loopback


def _given(*files: Path | None) -> Iterator[Path]:
    return (file for file in files if file is not None)


__all__ = ["Address", "Config"]
