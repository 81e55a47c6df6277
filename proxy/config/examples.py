"""The settings by name, each with an example of what is right, for messages."""

from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from proxy.config.model import Config
from proxy.config.origin_config import ENVIRONMENTS
from proxy.config.setting_types import Section
from proxy.server.address import Address
from proxy.settings import format_duration, format_size

_EXAMPLES = {
    "access.allow": "[/v1/accounts/**]",
    "access.deny": "[/v1/transfers/**]",
    "allowed_hosts": "proxy.example.com",
    "allowed_institutions": "00016,00017",
    "base_url": ENVIRONMENTS["stage"],
    "bearer_token": "an access token of the vendor's console",
    "callers.client_names": "app.example.com",
    "callers.secret_files": "/run/secrets/caller",
    "client_id": "the Shared Key of the vendor's console",
    "client_key_id": "key-1",
    "client_secret": "the Secret Key of the vendor's console",
    "cors.allow_origins": "https://app.example.com",
    "environment": "stage",
    "grant": "password",
    "headers.customer_id_paths": "[/v1/alert-history]",
    "host_user_id": "880017",
    "institution_customer_id": "ic-501",
    "institution_id": "00016",
    "institutions": '{"00017": {client_id_file: id, client_secret_file: secret}}',
    "listeners": "{kiosk: {listen: 127.0.0.1:8081}}",
    "login_id": "juniper.quill",
    "member_number": "12-3456789",
    "metrics.endpoint": "http://127.0.0.1:4318/v1/metrics",
    "password": "the user's password",
    "public_url": "https://proxy.example.com",
    "replay.paths": "[/v1/transfers]",
    "routes": "[{path: /v2/events/**, token: v1}]",
    "scopes": "accounts:read",
    "store.url": "rediss://redis.example:6379",
    "store.username": "proxy",
    "token.assertion_audience": "https://bank.example/oauth2/v1/token",
    "token.prefetch": "v2",
    "tracing.endpoint": "http://127.0.0.1:4318/v1/traces",
    "upstream.proxy": "http://proxy.example:3128",
    "upstream.proxy_user": "proxy",
    "upstream.stream_idle": "5m",
    "username": "juniper",
    "v1.offering_id": "OF-1",
    "v1.originating_ip": "192.0.2.7",
    "v1.user_agent": "Desk/1.0",
}
"""Values of settings that have no default, or one that says little."""


def known_paths(model: type = Config) -> set[tuple[str, ...]]:
    """Return the path of every setting."""
    paths: set[tuple[str, ...]] = set()
    for name, kind in get_type_hints(model).items():
        if is_section(kind):
            paths |= {(name, *rest) for rest in known_paths(kind)}
        else:
            paths.add((name,))
    return paths


def is_section(kind: object) -> bool:
    """Whether a type is a section: a model or a component's dataclass."""
    if not isinstance(kind, type) or issubclass(kind, Address):
        return False
    return is_dataclass(kind) or issubclass(kind, Section)


def example_of(path: tuple[str, ...]) -> str:
    """Return a valid value of a setting: one of the table, its default, or a path; else nothing."""
    name = ".".join(path)
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if name.endswith("_file"):
        return f"/run/secrets/{path[-1].removesuffix('_file').replace('_', '-')}"
    default: Any = Config.model_construct(institution_id="")
    for part in path:
        default = getattr(default, part, None)
    if isinstance(default, bool | str):
        return str(default).lower() if isinstance(default, bool) else str(default)
    if isinstance(default, int | float | Address):
        return with_unit(path, default)
    return ""


def with_unit(path: tuple[str, ...], value: Any) -> str:
    """Return a number as it is written for a setting: ``5s``, ``64KiB``, ``100``."""
    unit = _units().get(path, "")
    if unit == "seconds":
        return format_duration(value)
    if unit == "bytes":
        return format_size(int(value))
    return str(value) if isinstance(value, Address) else f"{value:g}"


@cache
def _units(model: type = Config) -> dict[tuple[str, ...], str]:
    """Return the units of settings that have one, by path."""
    units: dict[tuple[str, ...], str] = {}
    for name, kind in get_type_hints(model, include_extras=True).items():
        if is_section(kind):
            units |= {(name, *path): unit for path, unit in _units(kind).items()}
        for annotated in (kind, *get_args(kind)):  # the latter for one that may be None
            for metadata in getattr(annotated, "__metadata__", ()):
                if unit := getattr(metadata, "schema", {}).get("x-unit"):
                    units[(name,)] = unit
    return units
