"""Envoy's configuration: the ``credential_injector`` filter with OAuth2, and nothing else.

Envoy reads JSON as well as YAML. Limits and defaults are Envoy's own, except the circuit
breakers where there are more clients than they allow.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TYPE = "type.googleapis.com/envoy.extensions"
_CONNECTIONS = f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_INJECTOR = f"{_TYPE}.filters.http.credential_injector.v3.CredentialInjector"
_OAUTH2 = f"{_TYPE}.http.injected_credentials.oauth2.v3.OAuth2"
_ROUTER = f"{_TYPE}.filters.http.router.v3.Router"
_FILE_LOG = f"{_TYPE}.access_loggers.file.v3.FileAccessLog"
_TLS = f"{_TYPE}.transport_sockets.tls.v3.UpstreamTlsContext"

_LOG_FIELDS = {
    "timestamp": "%START_TIME%",
    "transactionId": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "error_source": "%RESPONSE_FLAGS%",
    "route": "%ROUTE_NAME%",
    "ms": "%DURATION%",
    "upstream_ms": "%RESPONSE_DURATION%",
    "upload_bytes": "%BYTES_RECEIVED%",
    "download_bytes": "%BYTES_SENT%",
}
"""The fields of our access log, as an Envoy log format."""


def configuration(
    listen: int,
    admin: int,
    upstream: str,
    token_path: str,
    *,
    authority: Path | None,
    access_log: Path | None,
    many: bool,
) -> dict[str, Any]:
    """Return the configuration.

    ``authority`` is for an upstream with TLS, ``many`` for many clients.
    """
    connections = {
        "@type": _CONNECTIONS,
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [_everything()]},
        "http_filters": [
            _named("envoy.filters.http.credential_injector", _injector(upstream + token_path)),
            _named("envoy.filters.http.router", {"@type": _ROUTER}),
        ],
        "access_log": [_log(access_log)] if access_log else [],
    }
    listener = {
        "name": "callers",
        "address": _address(listen),
        "filter_chains": [
            {"filters": [_named("envoy.filters.network.http_connection_manager", connections)]}
        ],
    }
    secret = {"name": "secret", "generic_secret": {"secret": {"inline_string": "bench"}}}
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [listener],
            "secrets": [secret],
            "clusters": [_bank(upstream, authority, many=many)],
        },
    }


def _everything() -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "bank"}}
    return {"name": "bank", "domains": ["*"], "routes": [route]}


def _injector(token_url: str) -> dict[str, Any]:
    oauth2 = {
        "@type": _OAUTH2,
        "token_endpoint": {"cluster": "bank", "timeout": "5s", "uri": token_url},
        "client_credentials": {"client_id": "bench", "client_secret": {"name": "secret"}},
    }
    return {
        "@type": _INJECTOR,
        "overwrite": True,
        "credential": _named("envoy.http.injected_credentials.oauth2", oauth2),
    }


def _bank(upstream: str, authority: Path | None, *, many: bool) -> dict[str, Any]:
    port = urlsplit(upstream).port
    assert port is not None
    endpoint = {"endpoint": {"address": _address(port)}}
    cluster: dict[str, Any] = {
        "name": "bank",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "bank", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if authority is not None:
        name = {"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}}
        trust = {
            "trusted_ca": {"filename": str(authority)},
            "match_typed_subject_alt_names": [name],
        }
        tls = {"@type": _TLS, "common_tls_context": {"validation_context": trust}}
        cluster["transport_socket"] = _named("envoy.transport_sockets.tls", tls)
    if many:
        most = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
        cluster["circuit_breakers"] = {"thresholds": [most]}
    return cluster


def _log(file: Path) -> dict[str, Any]:
    config = {"@type": _FILE_LOG, "path": str(file), "log_format": {"json_format": _LOG_FIELDS}}
    return _named("envoy.access_loggers.file", config)


def _named(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": config}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
