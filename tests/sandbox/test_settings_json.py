"""Settings as JSON."""

import json
from dataclasses import fields
from typing import Any

import pytest

from proxy.sandbox import Settings
from proxy.sandbox.settings_json import changed, shown


def test_only_named_settings_change() -> None:
    """Others stay."""
    new = changed(Settings(quota=3), {"lifetime": 5, "unauthorised": ["00018"]})
    assert (new.lifetime, new.quota, new.unauthorised) == (5.0, 3, frozenset({"00018"}))


def test_every_setting_can_be_written() -> None:
    """Except clients and users, which are shown without secrets."""
    seen = shown(Settings())
    assert set(seen) == {entry.name for entry in fields(Settings)}
    again = {name: value for name, value in seen.items() if name not in ("clients", "users")}
    assert changed(Settings(), json.loads(json.dumps(again))) == Settings()


def test_no_secret_is_shown() -> None:
    """Nor a password."""
    text = json.dumps(shown(Settings()))
    assert "sandbox-secret" not in text
    assert "moonlight" not in text


@pytest.mark.parametrize(
    ("mapping", "name"),
    [
        ({"lifetme": 5}, "lifetme: no such setting"),
        ({"lifetime": True}, "lifetime: expected seconds"),
        ({"quota": 1.5}, "quota: expected a whole number"),
        ({"v1_format": 1}, "v1_format: expected a string"),
        ({"user_required": 1}, "user_required: expected true or false"),
        ({"institutions": "00016"}, "institutions: expected a list"),
        ({"clients": {"a": 1}}, "clients.a: expected a string"),
        ({"clients": []}, "clients: expected an object"),
        ({"users": []}, "users: cannot be set from JSON"),
        ({"client_institutions": {"a": "00016"}}, "client_institutions.a: expected a list"),
        ({"institution_lifetimes": {"00016": -1}}, "institution_lifetimes.00016: expected"),
    ],
)
def test_error_names_the_setting(mapping: dict[str, Any], name: str) -> None:
    """Of an invalid value."""
    with pytest.raises(ValueError, match=name):
        changed(Settings(), mapping)


def test_null_removes_a_limit() -> None:
    """It is None."""
    assert changed(Settings(quota=3), {"quota": None}).quota is None
    assert changed(Settings(), {"public_url": "http://bank"}).public_url == "http://bank"
