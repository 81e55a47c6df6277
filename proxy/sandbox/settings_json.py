"""Converts the bank's settings from JSON, and to JSON without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from proxy.sandbox.bank_settings import CHOICES, DURATIONS, SPELLINGS, Settings, seconds


def changed(old: Settings, mapping: Mapping[str, Any]) -> Settings:
    """Return ``old`` with the settings of a JSON object.

    Raises ``ValueError`` that names the setting, for an unknown name or an invalid value.
    """
    known = {entry.name for entry in fields(Settings)}
    if unknown := sorted(set(mapping) - known):
        raise ValueError(f"{unknown[0]}: no such setting; known are {', '.join(sorted(known))}")
    return replace(old, **{name: _fit(name, value) for name, value in mapping.items()})


def shown(settings: Settings) -> dict[str, Any]:
    """Return the settings without secrets and passwords."""
    plain = {entry.name: getattr(settings, entry.name) for entry in fields(Settings)}
    return plain | {
        "clients": sorted(settings.clients),
        "users": [user.login_id for user in settings.users],
        "unauthorised": sorted(settings.unauthorised),
        "client_institutions": {k: list(v) for k, v in settings.client_institutions.items()},
        "institution_lifetimes": dict(settings.institution_lifetimes),
    }


def _fit(name: str, value: Any) -> Any:
    for names, kind in _KINDS:
        if name in names:
            return kind(name, value)
    raise ValueError(f"{name}: cannot be set from JSON")


def _whole_number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}: expected a whole number")
    return value


def _whole_number_or_none(name: str, value: Any) -> int | None:
    return None if value is None else _whole_number(name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a string")
    return value


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: expected a list of strings")
    return tuple(_text(name, entry) for entry in value)


def _text_set(name: str, value: Any) -> frozenset[str]:
    return frozenset(_texts(name, value))


def _mapping_of(kind: Any) -> Any:
    def fit(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{name}: expected an object")
        return {key: kind(f"{name}.{key}", entry) for key, entry in value.items()}

    return fit


_KINDS: tuple[tuple[tuple[str, ...], Any], ...] = (
    (DURATIONS, seconds),
    ((*CHOICES, *SPELLINGS, "base_path"), _text),
    (("least_expires_in", "limit_status"), _whole_number),
    (("quota", "spike", "retry_after", "seed"), _whole_number_or_none),
    (("public_url",), _text_or_none),
    (("user_required",), _flag),
    (("institutions", "scopes"), _texts),
    (("unauthorised",), _text_set),
    (("clients",), _mapping_of(_text)),
    (("client_institutions",), _mapping_of(_texts)),
    (("institution_lifetimes",), _mapping_of(seconds)),
)
