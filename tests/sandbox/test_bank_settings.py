"""What can be set about the bank."""

from typing import Any

import pytest

from proxy.sandbox import Settings


def test_defaults_are_a_small_bank() -> None:
    """Out of the box: one client, three institutions, both lifetimes as documented."""
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
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    """What makes no sense is a ``ValueError`` at once."""
    with pytest.raises(ValueError, match=r"expected|unknown error code"):
        Settings(**wrong)


def test_who_may_use_what() -> None:
    """A client may be kept to some institutions, and an institution from every client."""
    settings = Settings(
        client_institutions={"narrow": ("00016",)}, unauthorised=frozenset({"00018"})
    )
    assert settings.may_use("narrow", "00016")
    assert not settings.may_use("narrow", "00017")
    assert settings.may_use("any", "00017")
    assert not settings.may_use("any", "00018")


def test_secrets_are_not_in_the_repr() -> None:
    """Neither secrets nor passwords stand in a repr."""
    text = repr(Settings()) + repr(Settings().users)
    assert "sandbox-secret" not in text
    assert "moonlight" not in text
