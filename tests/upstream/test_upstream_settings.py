"""Settings of the upstream."""

import pytest

from proxy.upstream.upstream_settings import UpstreamSettings, check_proxy_url


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"key_file": "/k"}, "upstream.key_file: needs upstream.certificate_file"),
        ({"proxy_user": "fern"}, "upstream.proxy_user: needs upstream.proxy"),
        (
            {"proxy": "http://p:1", "proxy_user": "fern"},
            "upstream.proxy_user: needs upstream.proxy_password_file, and that needs this",
        ),
        ({}, None),
    ],
)
def test_contradictory_settings_are_refused(settings: dict[str, str], error: str | None) -> None:
    """Each error begins with the setting to change."""
    found = list(UpstreamSettings(**settings).errors())  # type: ignore[arg-type]  # pydantic converts it
    assert found == ([] if error is None else [error])


@pytest.mark.parametrize("url", ["http://proxy:3128", "http://[::1]:3128/"])
def test_proxy_url_is_parsed(url: str) -> None:
    """Host and port; a final slash is ignored."""
    assert check_proxy_url(url) == url.rstrip("/")


@pytest.mark.parametrize("url", ["http://proxy:0", "http://proxy:65536", "http://a b:1"])
def test_invalid_proxy_url_is_refused(url: str) -> None:
    """An invalid port, or a space."""
    with pytest.raises(ValueError, match="expected environment, or the URL"):
        check_proxy_url(url)
