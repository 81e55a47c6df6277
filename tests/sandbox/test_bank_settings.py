"""Settings of the sandbox bank."""

from typing import Any

import pytest

from proxy.sandbox import Settings


def test_defaults() -> None:
    """One client, three institutions, and the documented lifetimes."""
    settings = Settings()
    assert settings.clients == {"sandbox-client": "sandbox-secret"}
    assert settings.institutions == ("00016", "00017", "00018")
    assert (settings.lifetime, settings.v1_lifetime) == (3600, 1800)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lifetime": -1},
        {"lifetime": float("inf")},
        {"latency": "1"},
        {"quota": -1},
        {"limit_status": 200},
        {"base_path": "x"},
        {"base_path": "/x/"},
        {"institutions": ("16a",)},
        {"v1_format": "yaml"},
        {"limits_on": "moon"},
        {"expired_as": "CMN_1"},
    ],
)
def test_invalid_settings_are_refused(wrong: dict[str, Any]) -> None:
    """With a ``ValueError``."""
    with pytest.raises(ValueError, match=r"expected|unknown error code"):
        Settings(**wrong)


def test_permissions_of_clients() -> None:
    """By institution."""
    settings = Settings(
        client_institutions={"narrow": ("00016",)}, unauthorised=frozenset({"00018"})
    )
    assert settings.may_use("narrow", "00016")
    assert not settings.may_use("narrow", "00017")
    assert settings.may_use("any", "00017")
    assert not settings.may_use("any", "00018")


def test_repr_shows_no_secrets() -> None:
    """Nor passwords."""
    text = repr(Settings()) + repr(Settings().users)
    assert "sandbox-secret" not in text
    assert "moonlight" not in text
