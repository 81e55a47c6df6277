"""Builds components from the configuration, one function each."""

import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from proxy.config.listener_settings import ListenerConfig
from proxy.config.login_settings import UserSettings
from proxy.config.model import Config
from proxy.config.origin_config import OriginConfig
from proxy.errors import ConfigError
from proxy.forwarding.access_policy import AccessPolicy
from proxy.forwarding.browser_policy import BrowserPolicy
from proxy.forwarding.business_users import BusinessUserDirectory, UserContextInjector
from proxy.forwarding.context import Replay
from proxy.forwarding.forwarder import ForwarderSettings
from proxy.forwarding.forwarding_settings import AccessSettings
from proxy.forwarding.routing import Router
from proxy.forwarding.transaction_ids import new_transaction_id
from proxy.forwarding.user_context import HeaderPaths, UserContext
from proxy.runtime import clock
from proxy.tokens.cache import TokenCache
from proxy.tokens.credentials import Logins
from proxy.tokens.endpoint import BankEndpoint
from proxy.tokens.grants import ApplicationInfo
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.secret_files import read_secret
from proxy.tokens.token import TokenKey, TokenKind
from proxy.upstream.bank_client import USER_AGENT, BankClient
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.events import UpstreamEventSink, ignore
from proxy.upstream.proxy_environment import parse_proxy_url, proxy_variable
from proxy.upstream.resolver import Resolver
from proxy.upstream.tls import UpstreamTls, client_context
from proxy.upstream.tunnel import OutboundProxy
from proxy.upstream.upstream_settings import DIRECT, ENVIRONMENT

if TYPE_CHECKING:
    from proxy.runtime.build_fleet import Fleet
    from proxy.telemetry.events import EventSink
    from proxy.telemetry.metrics import Metrics
    from proxy.telemetry.metrics.otlp import MetricsPush
    from proxy.telemetry.tracing import Tracing

_NAME = b"candescent-proxy-" + secrets.token_hex(8).encode("ascii")
"""This process in ``Via``."""


def upstream_tls(origin: OriginConfig) -> UpstreamTls:
    """Return the TLS of connections to an origin. Raises ``ConfigError``."""
    section = f"{origin.path}upstream"
    return UpstreamTls.load(origin.upstream, https=origin.is_https, section=section)


def dialer(
    origin: OriginConfig,
    tls: ssl.SSLContext | None,
    resolver: Resolver | None = None,
    emit: UpstreamEventSink = ignore,
    environ: Mapping[str, str] = os.environ,
) -> Dialer:
    """Return what opens connections to an origin. Raises ``ConfigError``."""
    proxy = outbound_proxy(origin, environ)
    return Dialer(
        UpstreamOrigin(origin.host, origin.port, tls, proxy), origin.upstream, resolver, emit
    )


def outbound_proxy(
    origin: OriginConfig, environ: Mapping[str, str] = os.environ
) -> OutboundProxy | None:
    """Return the proxy on the way out, if there is one. Raises ``ConfigError``."""
    upstream, setting = origin.upstream, f"{origin.path}upstream.proxy"
    text, name = upstream.proxy, setting
    if text == ENVIRONMENT:
        found = proxy_variable(environ, origin.host, origin.port, https=origin.is_https)
        name, text = found or (name, None)
    if text is None or text == DIRECT:
        return None
    try:
        url = parse_proxy_url(text)
    except ValueError as error:
        raise ConfigError([f"{setting}: {name} {error}"]) from error
    file = upstream.proxy_password_file
    return OutboundProxy(
        url.host,
        url.port,
        upstream.proxy_user or url.user,
        read_secret(file, f"{setting}_password_file") if file else url.password,
        url.scheme,
        client_context(upstream.ca_file, system_store=upstream.system_store)
        if url.scheme == "https"
        else None,
    )


def bank_client(config: Config, origin: OriginConfig, dialer: Dialer) -> BankClient:
    """Return the client for the proxy's own calls to an origin."""
    return BankClient(origin.base_url, dialer, timeout=config.token.timeout)


def forwarding(config: Config, listener: ListenerConfig) -> ForwarderSettings:
    """Return the options of a listener's forwarder."""
    return ForwarderSettings(
        listener=listener.name,
        institution=listener.institution,
        permitted_institutions=listener.permitted_institutions,
        correlation_id=config.headers.correlation_id,
        rewrites_links=listener.rewrite_links,
        limits=config.limits,
        replay=Replay(tuple(path.pattern for path in config.replay.paths), config.replay.max_body),
        browser_policy=BrowserPolicy(hosts(config), listener.cors.allow_origins),
        via=_NAME if _may_come_back(config) else b"",
    )


def _may_come_back(config: Config) -> bool:
    """Whether another proxy, or this one, may stand at ``base_url``: none speaks TLS but these."""
    has_tls = any(listener.callers.certificate_file for listener in config.listener_configs)
    return has_tls or not all(origin.is_https for origin in config.origins)


def admin_policy(config: Config) -> BrowserPolicy | None:
    """Return the policy for web pages on the admin port; None on a Unix socket."""
    return None if config.admin.path else BrowserPolicy(hosts(config))


def hosts(config: Config) -> Iterator[str]:
    """Yield the host names that requests may use for the proxy.

    Not the address that stands for all, because browsers send no ``Sec-Fetch-Site`` to it.
    """
    yield from config.allowed_hosts
    names = [origin.host for origin in config.origins]
    names += socket.gethostname(), config.admin.host
    for listener in config.listener_configs:
        names += listener.address.host, urlsplit(listener.public_url).hostname or ""
    yield from (name for name in names if name not in ("0.0.0.0", "::"))  # noqa: S104 - compared


def certificate_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield the settings with certificates, each with its file."""
    named = [
        (f"{path}callers.{name}", getattr(callers, name))
        for path, callers in config.caller_sections()
        for name in ("certificate_file", "client_ca_file")
    ]
    named += [
        (f"{origin.path}upstream.{name}", getattr(origin.upstream, name))
        for origin in config.origins
        for name in ("certificate_file", "ca_file")
    ]
    for setting, file in named:
        if file is not None:
            yield setting, file


def refresh_tokens(config: Config) -> RefreshTokens:
    """Return what keeps refresh tokens. Raises ``ConfigError`` for a file of another user."""
    by_subject = {
        # Also those without a login, which a reload may add.
        name: RefreshTokens(clock.now, listener.refresh_token_file)
        for name, listener in config.listeners.items()
    }
    return RefreshTokens(clock.now, config.refresh_token_file, by_subject)


def token_key(
    config: Config, kind: TokenKind, institution: str, listener: ListenerConfig | None = None
) -> TokenKey:
    """Return the key of an institution's tokens, or of a listener's own."""
    subject = "" if listener is None else listener.subject_of(institution)
    return TokenKey(kind, institution, config.origin_of(institution).name, subject)


def keys_with_login(config: Config, kind: TokenKind) -> Iterator[TokenKey]:
    """Yield the key of each institution with a login, and of each listener with its own."""
    for institution, _ in config.logins():
        yield token_key(config, kind, institution)
    for listener in config.listener_configs:
        if listener.login is not None:
            yield token_key(config, kind, listener.institution, listener)


def endpoint(
    config: Config,
    logins: Logins,
    bank: BankClient,
    refresh_tokens: RefreshTokens,
    warn: Callable[[str], None],
    origin: str = "",
) -> BankEndpoint:
    """Return the token source that calls the bank at an origin."""
    v1 = config.v1
    return BankEndpoint(
        bank,
        logins.for_key,
        refresh_tokens,
        clock=clock.now,
        new_id=new_transaction_id,
        caller=ApplicationInfo(
            v1.user_agent or USER_AGENT, v1.originating_ip or "", v1.offering_id or ""
        ),
        warn=warn,
        origin=origin,
    )


def user_context(login: UserSettings) -> UserContext:
    """Return the default user for an institution's calls."""
    return UserContext(
        host_user_id=login.host_user_id or "",
        login_id=login.login_id or "",
        member_number=login.member_number or "",
        customer_id=login.institution_customer_id or "",
    )


def access_policy(access: AccessSettings) -> AccessPolicy:
    """Return the access policy."""
    return AccessPolicy(
        tuple(path.pattern for path in access.allow),
        tuple(path.pattern for path in access.deny),
        access.mode == "enforce",
    )


def directory(config: Config, bank: BankClient, tokens: TokenCache) -> BusinessUserDirectory:
    """Return the directory of business users."""
    return BusinessUserDirectory(
        bank,
        tokens,
        path=config.headers.institution_users_path,
        new_id=new_transaction_id,
        timer=time.monotonic,
    )


def router(config: Config, origin: OriginConfig, listener: ListenerConfig) -> Router:
    """Return the router of a listener's requests to an origin."""
    policy = access_policy(listener.access)
    return Router(origin.url.path, config.rules, policy, config.relaxed_query_chars)


def users(
    config: Config, listener: ListenerConfig, directory: BusinessUserDirectory
) -> UserContextInjector | None:
    """Return the injector of users, or None if no user is configured."""
    contexts = {name: user_context(login) for name, login in config.logins()}
    if listener.user is not None:
        contexts[listener.institution] = user_context(listener.user)
    contexts = {name: context for name, context in contexts.items() if not context.is_empty}
    if not contexts:
        return None
    paths = tuple(path.pattern for path in config.headers.customer_id_paths)
    return UserContextInjector(contexts, HeaderPaths(paths), directory)


def tracing(config: Config, base: Callable[[], SplitResult]) -> "Tracing | None":
    """Return the tracing, if it is configured; ``base`` returns the API's base URL.

    Raises ``ConfigError`` if OpenTelemetry is not installed, or has invalid settings.
    """
    if config.tracing.endpoint is None:
        return None
    try:
        from proxy.telemetry.tracing import Tracing  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        message = (
            "tracing.endpoint: spans need OpenTelemetry, which is not installed; install "
            "candescent-proxy[otel], or remove the endpoint"
        )
        raise ConfigError([message]) from error
    try:
        return Tracing(config.tracing.endpoint, base)
    except ValueError as error:  # the SDK reads its variables itself
        raise ConfigError([f"tracing: a variable OTEL_… is invalid ({error})"]) from error


def metrics_push(config: Config, metrics: "Metrics") -> "MetricsPush | None":
    """Return what sends the metrics to a collector, if it is configured.

    Raises ``ConfigError`` if OpenTelemetry is not installed, or has invalid settings.
    """
    settings = config.metrics
    if settings.endpoint is None:
        return None
    try:
        from proxy.telemetry.metrics.otlp import MetricsPush  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        message = (
            "metrics.endpoint: sending them needs OpenTelemetry, which is not installed; install "
            "candescent-proxy[otel], or remove the endpoint"
        )
        raise ConfigError([message]) from error
    try:
        return MetricsPush(settings.endpoint, settings.interval, metrics.registry.collect)
    except ValueError as error:  # the SDK reads its variables itself
        raise ConfigError([f"metrics: a variable OTEL_… is invalid ({error})"]) from error


def fleet(config: Config, logins: Logins, emit: "EventSink") -> "Fleet | None":
    """Return the shared tokens, if a store is configured.

    Raises ``ConfigError`` for files that cannot be used.
    """
    if config.store.url is None or config.bearer_token is not None:
        return None
    from proxy.runtime.build_fleet import Fleet  # noqa: PLC0415 - imports what only a store needs

    return Fleet(config, logins, config.token, emit)


def check_store(config: Config) -> None:
    """Read the files that the store needs. Raises ``ConfigError``."""
    if config.store.url is not None:
        from proxy.runtime import build_fleet  # noqa: PLC0415 - imports what only a store needs

        build_fleet.check_files(config)
