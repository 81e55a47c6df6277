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
from proxy.errors import ConfigError
from proxy.forwarding.access_policy import AccessPolicy
from proxy.forwarding.browser_policy import BrowserPolicy
from proxy.forwarding.business_users import BusinessUserDirectory, UserContextInjector
from proxy.forwarding.context import Replay
from proxy.forwarding.forwarder import ForwarderSettings
from proxy.forwarding.forwarding_settings import AccessSettings
from proxy.forwarding.transaction_ids import new_transaction_id
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.forwarding.user_context import HeaderPaths, UserContext
from proxy.runtime import clock
from proxy.tokens.cache import TokenCache
from proxy.tokens.credentials import Logins
from proxy.tokens.endpoint import BankEndpoint
from proxy.tokens.grants import ApplicationInfo
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.secret_files import read_secret
from proxy.tokens.token import TokenSource
from proxy.upstream.bank_client import USER_AGENT, BankClient
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.events import UpstreamEventSink, ignore
from proxy.upstream.proxy_environment import parse_proxy_url, proxy_variable
from proxy.upstream.resolver import Resolver
from proxy.upstream.tls import client_context
from proxy.upstream.tunnel import OutboundProxy
from proxy.upstream.upstream_settings import ENVIRONMENT

if TYPE_CHECKING:
    from proxy.runtime.build_fleet import Fleet
    from proxy.telemetry.events import EventSink
    from proxy.telemetry.metrics import Metrics
    from proxy.telemetry.metrics.otlp import MetricsPush
    from proxy.telemetry.tracing import Tracing

_NAME = b"candescent-proxy-" + secrets.token_hex(8).encode("ascii")
"""This process in ``Via``."""


def dialer(
    config: Config,
    tls: ssl.SSLContext | None,
    resolver: Resolver | None = None,
    emit: UpstreamEventSink = ignore,
    environ: Mapping[str, str] = os.environ,
) -> Dialer:
    """Return what opens connections to the bank. Raises ``ConfigError``."""
    proxy = outbound_proxy(config, environ)
    return Dialer(
        UpstreamOrigin(str(config.url.hostname), port(config), tls, proxy),
        config.upstream,
        resolver,
        emit,
    )


def port(config: Config) -> int:
    """Return the bank's port."""
    return config.url.port or (443 if config.url.scheme == "https" else 80)


def outbound_proxy(config: Config, environ: Mapping[str, str] = os.environ) -> OutboundProxy | None:
    """Return the proxy on the way out, if there is one. Raises ``ConfigError``."""
    upstream, text, name = config.upstream, config.upstream.proxy, "upstream.proxy"
    if text == ENVIRONMENT:
        is_https = config.url.scheme == "https"
        found = proxy_variable(environ, str(config.url.hostname), port(config), https=is_https)
        name, text = found or (name, None)
    if text is None:
        return None
    try:
        url = parse_proxy_url(text)
    except ValueError as error:
        raise ConfigError([f"upstream.proxy: {name} {error}"]) from error
    file = upstream.proxy_password_file
    return OutboundProxy(
        url.host,
        url.port,
        upstream.proxy_user or url.user,
        read_secret(file, "upstream.proxy_password_file") if file else url.password,
        url.scheme,
        client_context(upstream.ca_file, system_store=upstream.system_store)
        if url.scheme == "https"
        else None,
    )


def bank_client(config: Config, dialer: Dialer) -> BankClient:
    """Return the client for the proxy's own calls."""
    return BankClient(config.url.geturl(), dialer, timeout=config.token.timeout)


def forwarding(
    config: Config, listener: ListenerConfig, origin: UpstreamOrigin
) -> ForwarderSettings:
    """Return the options of a listener's forwarder."""
    return ForwarderSettings(
        listener=listener.name,
        institution=listener.institution,
        permitted_institutions=listener.permitted_institutions,
        host=origin.host_header,
        correlation_id=config.headers.correlation_id,
        rewrites_links=listener.rewrite_links,
        retry=config.upstream.retry,
        total_timeout=config.upstream.total_timeout,
        limits=config.limits,
        replay=Replay(tuple(path.pattern for path in config.replay.paths), config.replay.max_body),
        url_rewriter=UrlRewriter(config.url, listener.public_url),
        browser_policy=BrowserPolicy(hosts(config), listener.cors.allow_origins),
        pool_share=[one.name for one in config.listener_configs].index(listener.name),
        via=_NAME if _may_come_back(config) else b"",
    )


def _may_come_back(config: Config) -> bool:
    """Whether another proxy, or this one, may stand at ``base_url``: none speaks TLS but these."""
    has_tls = any(listener.callers.certificate_file for listener in config.listener_configs)
    return config.url.scheme == "http" or has_tls


def admin_policy(config: Config) -> BrowserPolicy | None:
    """Return the policy for web pages on the admin port; None on a Unix socket."""
    return None if config.admin.path else BrowserPolicy(hosts(config))


def hosts(config: Config) -> Iterator[str]:
    """Yield the host names that requests may use for the proxy.

    Not the address that stands for all, because browsers send no ``Sec-Fetch-Site`` to it.
    """
    yield from config.allowed_hosts
    names = [str(config.url.hostname), socket.gethostname(), config.admin.host]
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
    upstream = config.upstream
    for setting, file in (
        *named,
        ("upstream.certificate_file", upstream.certificate_file),
        ("upstream.ca_file", upstream.ca_file),
    ):
        if file is not None:
            yield setting, file


def endpoint(
    config: Config,
    logins: Logins,
    bank: BankClient,
    refresh_tokens: RefreshTokens,
    warn: Callable[[str], None],
) -> BankEndpoint:
    """Return the token source that calls the bank."""
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
    )


def user_context(login: UserSettings) -> UserContext:
    """Return the default user for an institution's calls."""
    return UserContext(
        host_user_id=login.host_user_id or "",
        login_id=login.login_id or "",
        member_number=login.member_number or "",
        customer_id=login.institution_customer_id or "",
    )


def policy(access: AccessSettings) -> AccessPolicy:
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


def fleet(config: Config, logins: Logins, source: TokenSource, emit: "EventSink") -> "Fleet | None":
    """Return the shared tokens, if a store is configured.

    Raises ``ConfigError`` for files that cannot be used.
    """
    if config.store.url is None or config.bearer_token is not None:
        return None
    from proxy.runtime.build_fleet import Fleet  # noqa: PLC0415 - imports what only a store needs

    return Fleet(config, logins, source, config.token, emit)


def check_store(config: Config) -> None:
    """Read the files that the store needs. Raises ``ConfigError``."""
    if config.store.url is not None:
        from proxy.runtime import build_fleet  # noqa: PLC0415 - imports what only a store needs

        build_fleet.check_files(config)
