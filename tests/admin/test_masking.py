"""Masked paths: their structure stays, identifiers are hidden."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.masking import HIDDEN, MOST, mask_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/accounts", "/v1/accounts"),
        ("/v1/accounts/4111111111111111", "/v1/accounts/…"),
        ("/v1/customers/8812345:accounts", "/v1/customers/…:accounts"),
        ("/fis/00016/fiCustomers/9f3c2b1a-11aa-4c1d/events", "/fis/00016/fiCustomers/…/events"),
        ("/db-users/v1/institution-users/juniper.quill", "/db-users/v1/institution-users/…"),
        ("/db-users/v1/institution-users/juniperquill", "/db-users/v1/institution-users/…"),
        ("/db-users/v1/Institution%2Dusers/juniperquill", "/db-users/v1/…/…"),
        ("/institution-users/", "/institution-users/"),
        ("/oauth2/v1/token", "/oauth2/v1/token"),
        ("/v1/accounts/anna@example.com", "/v1/accounts/…"),
        ("/v1/%61ccounts", "/v1/…"),
        ("/<script>alert(1)</script>", "/…/…"),
        ("//", "//"),
        ("", ""),
    ],
)
def test_structure_is_kept(path: str, shown: str) -> None:
    """Words, versions and configured institutions stay."""
    assert mask_path(path, {"00016"}) == shown


def test_unknown_institution_is_hidden() -> None:
    """Five digits may be anything."""
    assert mask_path("/fis/00099/fiCustomers", {"00016"}) == "/fis/…/fiCustomers"


@given(
    st.from_regex(r"[0-9]{3,19}", fullmatch=True), st.sampled_from(["/a/{}", "/{}/b", "/a/{}:b"])
)
def test_no_number_is_shown(number: str, shape: str) -> None:
    """Of three digits or more."""
    assert number not in mask_path(shape.format(number))


@given(st.text(max_size=3000))
def test_result_is_bounded_and_printable(path: str) -> None:
    """Whatever the path."""
    shown = mask_path("/" + path)
    assert len(shown) <= MOST
    assert set(shown.replace(HIDDEN, "")) <= set(
        "/:-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )


def test_truncation_is_visible() -> None:
    """Of a long path."""
    assert mask_path("/a" * 300).endswith("/…")
    assert mask_path("/" + "1" * 10_000) == "/……"
