"""Types of settings: accepted values and errors."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.config.setting_types import Secret, check_public_url
from proxy.forwarding.forwarding_settings import PathSetting, RequestPattern
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.settings import check_base_url, comma_separated

PATH: TypeAdapter[RequestPattern] = TypeAdapter(PathSetting)


@given(st.text())
def test_accepted_secret_is_one_printable_line(text: str) -> None:
    """It can be sent in a header."""
    try:
        taken = TypeAdapter(Secret).validate_python(text).get_secret_value()
    except ValidationError:
        return
    assert taken.isascii()
    assert taken.isprintable()
    assert taken == text.strip("\r\n")


def test_path_may_be_plain_text() -> None:
    """It applies to every method; methods may be in any case."""
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
        ("HTTPS://API.Example:443/Bank//", "https://api.example/Bank"),
        ("https://[::1]:443", "https://[::1]"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("http://127.0.0.1:443", "http://127.0.0.1:443"),
        ("https://api.example:/", "https://api.example"),
    ],
)
def test_base_url_is_normalized(text: str, expected: str) -> None:
    """Two spellings of one address are one origin."""
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
        "https://api.example:0",
        "https://api.example/bank/../other",
        "https://api.example/./bank",
        "",
    ],
)
def test_invalid_base_url_is_refused(text: str) -> None:
    """Only a plain origin with a plain path is accepted."""
    with pytest.raises(ValueError, match=r"."):
        check_base_url(text)


@pytest.mark.parametrize("text", ["https://bank.desk.test", "http://[::1]:8080", "https://a_b:1"])
def test_public_url_is_normalized(text: str) -> None:
    """Scheme, host and port."""
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
def test_invalid_public_url_is_refused(text: str) -> None:
    """A path, user, query, or characters not valid in a header."""
    with pytest.raises(ValueError, match=r"."):
        check_public_url(text)
