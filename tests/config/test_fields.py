"""What settings are made of: what each kind takes, and what it says of what it does not."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.config.fields import Secret, check_public_url
from proxy.forwarding.forwarding_settings import PathSetting, RequestPattern
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.settings import check_base_url, comma_separated
from proxy.upstream.upstream_settings import check_proxy_url

PATH: TypeAdapter[RequestPattern] = TypeAdapter(PathSetting)


@given(st.text())
def test_a_secret_taken_is_one_printable_line(text: str) -> None:
    """Whatever an environment holds, a secret that is taken can stand in a header."""
    try:
        taken = TypeAdapter(Secret).validate_python(text).get_secret_value()
    except ValidationError:
        return
    assert taken.isascii()
    assert taken.isprintable()
    assert taken == text.strip("\r\n")


def test_paths_may_be_plain_text() -> None:
    """A path alone is a path for every method; methods may be written in any case."""
    plain = PATH.validate_python("/a/*")
    assert plain.pattern.matches("DELETE", [b"a", b"b"])
    some = PATH.validate_python({"path": "/a", "methods": "get, POST"})
    assert some.methods == ("GET", "POST")
    assert comma_separated(["a,b"]) == ["a,b"]
    assert comma_separated(" a ,, b,") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example/digitalbanking/", "https://api.example/digitalbanking"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
    ],
)
def test_base_urls(text: str, expected: str) -> None:
    """A base URL is kept without the slash at its end."""
    assert check_base_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "api.example",
        "ftp://api.example",
        "https://",
        "https://user@api.example",
        "https://u:p@api.example",
        "https://api.example?x=1",
        "https://api.example#x",
        "https://api.example/a%2fb",
        "https://api.example/a b",
        "https://api.example\r\nX: y",
        "https://äpi.example",
        "https://api.example:99999",
        "https://api.example:x",
        "",
    ],
)
def test_base_urls_that_are_none(text: str) -> None:
    """What is no plain origin with a plain path is refused."""
    with pytest.raises(ValueError, match=r"."):
        check_base_url(text)


@pytest.mark.parametrize("text", ["http://proxy:3128", "http://proxy:3128/"])
def test_outbound_proxies(text: str) -> None:
    """An outbound proxy is a host and a port."""
    assert check_proxy_url(text) == "http://proxy:3128"


@pytest.mark.parametrize(
    "text", ["https://proxy:3128", "http://proxy", "http://u:p@proxy:1", "http://proxy:1/x", "p:1"]
)
def test_outbound_proxies_that_are_none(text: str) -> None:
    """No TLS to it, no path, and no user in it."""
    with pytest.raises(ValueError, match=r"expected|must not"):
        check_proxy_url(text)


@pytest.mark.parametrize("text", ["https://bank.desk.test", "http://[::1]:8080", "https://a_b:1"])
def test_public_url(text: str) -> None:
    """Scheme, host and port; a slash at the end is left out, and what is left makes an origin."""
    assert check_public_url(text + "/") == text
    assert (
        UrlRewriter(urlsplit("https://bank.test"), text).origin_seen_by_caller(
            text.partition("//")[2].encode(), None, secure=False
        )
        == text.encode()
    )


@pytest.mark.parametrize(
    "text",
    [
        *("bank.desk.test", "HTTPS://a", "ftp://a", "https://", "https://a/b", "https://a?b"),
        *(
            "https://me@a",
            "https://a b",
            "https://a:99999",
            "https://a:x",
            "https://ä",
            "https://a\n",
        ),
    ],
)
def test_what_is_no_public_url(text: str) -> None:
    """A path, a user, a query; and what could not stand in a header."""
    with pytest.raises(ValueError, match=r"."):
        check_public_url(text)
