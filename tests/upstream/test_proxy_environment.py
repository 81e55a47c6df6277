"""HTTPS_PROXY and its like: which variable counts, what NO_PROXY excludes, what a URL may be."""

import pytest

from proxy.upstream.proxy_environment import (
    ProxyUrl,
    is_excluded,
    parse_proxy_url,
    proxy_variable,
)


@pytest.mark.parametrize(
    ("environ", "https", "found"),
    [
        ({}, True, None),
        ({"HTTPS_PROXY": "http://a:1"}, True, ("HTTPS_PROXY", "http://a:1")),
        ({"HTTPS_PROXY": "http://a:1"}, False, None),
        ({"HTTP_PROXY": " http://a:1 "}, False, ("HTTP_PROXY", "http://a:1")),
        ({"HTTPS_PROXY": "a:1", "https_proxy": "b:1"}, True, ("https_proxy", "b:1")),
        ({"HTTPS_PROXY": "a:1", "https_proxy": ""}, True, ("HTTPS_PROXY", "a:1")),
        ({"ALL_PROXY": "socks5://a"}, True, ("ALL_PROXY", "socks5://a")),
        ({"all_proxy": "a:1", "HTTPS_PROXY": "b:1"}, True, ("HTTPS_PROXY", "b:1")),
        ({"HTTPS_PROXY": "a:1", "NO_PROXY": "bank.test"}, True, None),
        ({"HTTPS_PROXY": "a:1", "no_proxy": "x", "NO_PROXY": "*"}, True, ("HTTPS_PROXY", "a:1")),
        # Of a CGI program, a request's header Proxy.
        ({"HTTP_PROXY": "a:1", "REQUEST_METHOD": "GET"}, False, None),
    ],
)
def test_variable(environ: dict[str, str], https: bool, found: tuple[str, str] | None) -> None:
    """Small letters before large ones, the scheme's own before that for all."""
    assert proxy_variable(environ, "api.bank.test", 443, https=https) == found


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.0.1", "::1"])
def test_this_machine(host: str) -> None:
    """What listens here is never reached through a proxy."""
    assert proxy_variable({"ALL_PROXY": "http://a:1"}, host, 443, https=True) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "excluded"),
    [
        ("", "api.bank.test", False),
        ("*", "api.bank.test", True),
        ("api.bank.test", "api.bank.test", True),
        ("API.Bank.Test", "api.bank.test.", True),
        ("bank.test", "api.bank.test", True),
        (".bank.test", "api.bank.test", True),
        ("*.bank.test", "api.bank.test", True),
        ("ank.test", "api.bank.test", False),
        ("api.bank.test.evil", "api.bank.test", False),
        ("a.test, b.test  bank.test", "api.bank.test", True),
        (",", "api.bank.test", False),
        ("bank.test:443", "api.bank.test", True),
        ("bank.test:444", "api.bank.test", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7:443", "192.0.2.7", True),
        ("192.0.2.7:80", "192.0.2.7", False),
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.0/30", "192.0.2.7", False),
        ("192.0.2.0/24", "api.bank.test", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("[2001:db8::7]", "2001:db8::7", True),
        ("[2001:db8::7]:443", "2001:db8::7", True),
        ("[2001:db8::7]:80", "2001:db8::7", False),
    ],
)
def test_excluded(no_proxy: str, host: str, excluded: bool) -> None:
    """Names with all below them, addresses, CIDR, each with or without a port, or everything."""
    assert is_excluded(no_proxy, host, 443) is excluded


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://proxy.test:3128/", ProxyUrl("http", "proxy.test", 3128)),
        ("proxy.test:3128", ProxyUrl("http", "proxy.test", 3128)),
        ("http://proxy.test", ProxyUrl("http", "proxy.test", 80)),
        ("https://proxy.test", ProxyUrl("https", "proxy.test", 443)),
        ("socks5h://[::1]", ProxyUrl("socks5h", "::1", 1080)),
        ("http://me:p%40ss@proxy.test:1", ProxyUrl("http", "proxy.test", 1, "me", "p@ss")),
    ],
)
def test_url(text: str, url: ProxyUrl) -> None:
    """A scheme may be left out, a port too; user and password are decoded."""
    assert parse_proxy_url(text) == url


def test_url_is_shown_without_password() -> None:
    """Neither as a text nor as a repr."""
    url = parse_proxy_url("http://me:hidden@[2001:db8::1]:3128")
    assert str(url) == "http://[2001:db8::1]:3128"
    assert "hidden" not in repr(url)
    assert str(parse_proxy_url("proxy.test:1")) == "http://proxy.test:1"


@pytest.mark.parametrize(
    "text",
    [
        *("socks4://me:hidden@a:1", "http://", "http://me:hidden@a:port", "http://[::1"),
        *("http://ä:1", "http://me:12#hidden@a:1", "http://me:12/hidden@a:1", "me:1?hidden@a:1"),
    ],
)
def test_what_is_no_url(text: str) -> None:
    """The error does not repeat the URL."""
    with pytest.raises(ValueError, match="is not") as caught:
        parse_proxy_url(text)
    assert "hidden" not in str(caught.value)
