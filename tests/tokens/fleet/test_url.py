"""Store URLs: what is valid, and the errors of others."""

import pytest

from proxy.tokens.fleet.url import StoreKind, StoreUrl


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://store", StoreUrl(StoreKind.SINGLE, False, (("store", 6379),))),
        ("valkey://store:7000/3", StoreUrl(StoreKind.SINGLE, False, (("store", 7000),), "", 3)),
        ("rediss://[::1]:6380", StoreUrl(StoreKind.SINGLE, True, (("::1", 6380),))),
        (
            "redis+sentinel://a,b:26380/fleet/2",
            StoreUrl(StoreKind.SENTINEL, False, (("a", 26379), ("b", 26380)), "fleet", 2),
        ),
        (
            "rediss+sentinel://a/fleet",
            StoreUrl(StoreKind.SENTINEL, True, (("a", 26379),), "fleet"),
        ),
        (
            "valkeys+cluster://a:1,b:2",
            StoreUrl(StoreKind.CLUSTER, True, (("a", 1), ("b", 2))),
        ),
    ],
)
def test_valid_url_is_parsed(text: str, expected: StoreUrl) -> None:
    """One server, Sentinels with a primary's name, or a cluster; with or without TLS."""
    assert StoreUrl.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis://user:secret@store", "store.password_file"),
        ("http://store", "expected redis://"),
        ("redis://", "expected redis://"),
        ("redis://store:0", "not HOST:PORT"),
        ("redis://store:66000", "not HOST:PORT"),
        ("redis://a b", "not HOST:PORT"),
        ("redis://a,b", r"redis\+sentinel"),
        ("redis+sentinel://a", "name of the primary"),
        ("redis+sentinel://a/fleet/x", "number of a database"),
        ("redis+cluster://a/1", "clusters have only 0"),
        ("redis://a/x", "number of a database"),
    ],
)
def test_invalid_url_is_refused(text: str, message: str) -> None:
    """The error describes the mistake without quoting a password."""
    with pytest.raises(ValueError, match=message) as caught:
        StoreUrl.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://127.0.0.1", True),
        ("redis://localhost:7000", True),
        ("redis+cluster://127.0.0.1:1,[::1]:2", True),
        ("redis+cluster://127.0.0.1:1,store:2", False),
        ("redis://store", False),
    ],
)
def test_loopback_store_is_recognized(text: str, expected: bool) -> None:
    """All of its servers must be on loopback."""
    assert StoreUrl.parse(text).is_loopback == expected
