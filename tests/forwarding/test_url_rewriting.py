"""Origins of bank and proxy, and URLs rewritten from one to the other."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import CallerError
from proxy.forwarding.routing import Router
from proxy.forwarding.url_rewriting import LocalAddress, UrlRewriter

BANK = "https://api.candescent.com/digitalbanking"
HERE: LocalAddress = ("127.0.0.1", 8080)
US = b"http://127.0.0.1:8080"


def rewriter(url: str = BANK, public: str = "") -> UrlRewriter:
    """Return the rewriter of a proxy for this base URL."""
    return UrlRewriter(urlsplit(url), public)


def refusal(target: bytes, local_address: LocalAddress | None = HERE) -> tuple[int, str]:
    """Return status and error name of a refused target."""
    with pytest.raises(CallerError) as caught:
        rewriter().to_origin_form(target, local_address)
    return caught.value.kind.status, caught.value.kind.name


# Absolute-form targets.


@pytest.mark.parametrize(
    ("target", "form", "origin"),
    [
        (b"http://api.candescent.com/v1/x?y=1", b"/v1/x?y=1", b"http://api.candescent.com"),
        (b"https://api.candescent.com/v1/x", b"/v1/x", b"https://api.candescent.com"),
        (b"HTTP://API.Candescent.COM/v1/X", b"/v1/X", b"http://API.Candescent.COM"),
        (b"http://api.candescent.com:80/x", b"/x", b"http://api.candescent.com:80"),
        (b"http://api.candescent.com:443/x", b"/x", b"http://api.candescent.com:443"),
        (b"https://api.candescent.com:443/x", b"/x", b"https://api.candescent.com:443"),
        (b"http://api.candescent.com:/x", b"/x", b"http://api.candescent.com:"),
        (b"http://api.candescent.com", b"/", b"http://api.candescent.com"),
        (b"http://api.candescent.com?x=/y", b"/?x=/y", b"http://api.candescent.com"),
        (b"http://api.candescent.com//evil/x", b"//evil/x", b"http://api.candescent.com"),
        (b"http://127.0.0.1:8080/v1/x", b"/v1/x", b"http://127.0.0.1:8080"),
        (b"http://localhost:8080/v1/x", b"/v1/x", b"http://localhost:8080"),
    ],
)
def test_absolute_form_becomes_origin_form(target: bytes, form: bytes, origin: bytes) -> None:
    """The origins of bank and proxy are removed, with either scheme, in any case."""
    assert rewriter().to_origin_form(target, HERE) == (form, origin)


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"http://evil/p",
            b"http://api.candescent.com.evil/p",
            b"http://evil.api.candescent.com/p",
        ),
        *(b"http://api.candescent.com:8443/p", b"https://api.candescent.com:80/p"),
        *(b"http://127.0.0.1:8081/p", b"http://127.0.0.1/p", b"http://127.0.0.2:8080/p"),
        *(b"http:///p", b"http://api.candescent.com%00/p", b"http://api.candescent.com./p"),
        *(b"http://[::1/p", b"http://api.candescent.com:99999/p", b"http://\\evil/p"),
    ],
)
def test_foreign_origin_is_refused(target: bytes) -> None:
    """Similar names are refused too."""
    assert refusal(target) == (400, "origin")


@pytest.mark.parametrize(
    "target",
    [
        b"http://me@api.candescent.com/p",
        b"http://me:secret@api.candescent.com/p",
        b"http://api.candescent.com@evil/p",
        b"ftp://api.candescent.com/p",
        b"*",
        b"@evil/p",
        b"api.candescent.com:443",
    ],
)
def test_invalid_target_is_refused(target: bytes) -> None:
    """Userinfo, another scheme, no path."""
    assert refusal(target) == (400, "target")


@pytest.mark.parametrize(
    ("url", "accepted", "refused"),
    [
        (BANK, [b"api.candescent.com:80", b"API.candescent.com:80"], [b"api.candescent.com:443"]),
        ("https://bank.test:8443", [], [b"bank.test:8443", b"bank.test:80", b"bank.test:443"]),
        ("http://bank.test", [b"bank.test:80"], [b"bank.test:443", b"bank.test:8080"]),
        ("http://bank.test:81", [b"bank.test:81"], [b"bank.test:80"]),
        ("http://[::1]:81", [b"[::1]:81"], [b"::1:81", b"[::1]"]),
        (
            "http://bank.test",
            [],
            [b"bank.test", b"bank.test:", b"", b":80", b"/", b"x@bank.test:80"],
        ),
        ("http://bank.test", [], [b"evil:80", b"bank.test.evil:80", b"127.0.0.1:80", b"*:80"]),
    ],
)
def test_tunnel_to_the_upstream_on_a_plain_port(
    url: str, accepted: list[bytes], refused: list[bytes]
) -> None:
    """Port 80 stands for the default port; no token can be added inside TLS."""
    assert all(rewriter(url).may_tunnel(target) for target in accepted)
    assert not any(rewriter(url).may_tunnel(target) for target in refused)


@pytest.mark.parametrize(
    ("url", "accepted", "not_accepted"),
    [
        ("http://127.0.0.1:8081", b"http://127.0.0.1:8081/x", b"http://127.0.0.1/x"),
        ("https://bank.test:8443", b"http://bank.test:8443/x", b"http://bank.test/x"),
        ("http://bank.test", b"https://bank.test:80/x", b"http://bank.test:443/x"),
        ("https://[2001:DB8::1]", b"http://[2001:db8::1]/x", b"http://2001:db8::1/x"),
    ],
)
def test_ports_of_origins(url: str, accepted: bytes, not_accepted: bytes) -> None:
    """A default port may be omitted."""
    assert rewriter(url).to_origin_form(accepted, None)[0] == b"/x"
    with pytest.raises(CallerError):
        rewriter(url).to_origin_form(not_accepted, None)


def test_public_url_is_an_own_origin() -> None:
    """A Unix socket has no other."""
    known = rewriter(public="https://bank.desk.test")
    assert known.to_origin_form(b"https://bank.desk.test/x", None)[0] == b"/x"
    assert refusal(b"http://localhost:8080/x", local_address=None) == (400, "origin")


# The proxy's origin as the caller sees it.


@pytest.mark.parametrize(
    ("host", "local_address", "secure", "origin"),
    [
        (b"127.0.0.1:8080", HERE, False, US),
        (b"LocalHost:8080", HERE, False, b"http://LocalHost:8080"),
        (b"127.0.0.1:8443", ("127.0.0.1", 8443), True, b"https://127.0.0.1:8443"),
        (b"10.0.0.7", ("10.0.0.7", 80), False, b"http://10.0.0.7"),
        (b"10.0.0.7", ("10.0.0.7", 443), True, b"https://10.0.0.7"),
        (b"[::1]:8080", ("::1", 8080), False, b"http://[::1]:8080"),
        (b"127.0.0.1:8080", ("::ffff:127.0.0.1", 8080), False, US),
        (b"localhost:8080", ("10.0.0.7", 8080), False, b""),
        (b"127.0.0.1:8081", HERE, False, b""),
        (b"evil.test:8080", HERE, False, b""),
        (b"a!b", HERE, False, b""),
        (b"localhost", None, False, b""),
        (b"", HERE, False, b""),
        (b"bank.desk.test", HERE, False, b"https://bank.desk.test"),
        (b"BANK.desk.test:443", None, False, b"https://bank.desk.test"),
        (b"bank.desk.test:80", HERE, False, b""),
    ],
)
def test_origin_seen_by_caller(
    host: bytes, local_address: LocalAddress | None, origin: bytes, *, secure: bool
) -> None:
    """The own address as written, the public URL for its host, otherwise none."""
    known = rewriter(public="https://bank.desk.test")
    assert known.origin_seen_by_caller(host, local_address, secure=secure) == origin


# URLs in headers.


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        (b"https://api.candescent.com/digitalbanking/v1/x?y#z", US + b"/v1/x?y#z"),
        (b"HTTPS://Api.Candescent.com/digitalbanking/v1", US + b"/v1"),
        (b"https://api.candescent.com:443/digitalbanking/v1", US + b"/v1"),
        (b"//api.candescent.com/digitalbanking/v1", US + b"/v1"),
        (b"https://api.candescent.com/digitalbanking", US + b"/digitalbanking"),
        (b"https://api.candescent.com/digitalbanking?x", US + b"/digitalbanking?x"),
        (b"https://api.candescent.com/digitalbanking//evil/x", US + b"/digitalbanking//evil/x"),
        (
            b"https://api.candescent.com/digitalbanking/digitalbanking/x",
            US + b"/digitalbanking/digitalbanking/x",
        ),
        *(
            (same, same)
            for same in (
                *(b"https://api.candescent.com/other", b"https://api.candescent.com"),
                *(
                    b"https://api.candescent.com/digitalbankingx",
                    b"https://elsewhere/digitalbanking",
                ),
                b"https://api.candescent.com.evil/digitalbanking",
                b"https://api.candescent.com@evil/digitalbanking",
                b"https://api.candescent.com:444/digitalbanking",
                b"http://api.candescent.com/digitalbanking",
                *(b"/digitalbanking/v1", b"v1", b"", b"https:/api.candescent.com/digitalbanking"),
            )
        ),
    ],
)
def test_url_below_the_base_url_is_rewritten(url: bytes, rewritten: bytes) -> None:
    """The base path is removed; other URLs stay."""
    assert rewriter().rewrite_url(url, US, has_base_path=False) == rewritten


def test_base_path_is_kept_for_callers_that_use_it() -> None:
    """The caller's next request then matches its last."""
    url = b"https://api.candescent.com/digitalbanking/v1"
    assert rewriter().rewrite_url(url, US, has_base_path=True) == US + b"/digitalbanking/v1"


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        (b"https://bank.test/v1", b"/v1"),
        (b"https://bank.test", b"/"),
        (b"https://bank.test?x", b"/?x"),
        (b"https://bank.test//evil/x", b"https://bank.test//evil/x"),
    ],
)
def test_url_becomes_a_path_for_unknown_origin(url: bytes, rewritten: bytes) -> None:
    """The path never begins with two slashes, which would name a host."""
    assert rewriter("https://bank.test").rewrite_url(url, b"", has_base_path=True) == rewritten


@pytest.mark.parametrize(
    ("name", "value", "rewritten"),
    [
        (b"Location", b"{}/v1", b"{}/v1"),
        (b"content-location", b"{}/v1", b"{}/v1"),
        (
            b"LINK",
            b'<{}/v1?page=2>; rel="next", <https://elsewhere/>; rel="x", <{}/v1>',
            b'<{}/v1?page=2>; rel="next", <https://elsewhere/>; rel="x", <{}/v1>',
        ),
        (b"Refresh", b"5; url={}/v1", b"5; url={}/v1"),
        (b"Refresh", b'5;URL="{}/v1"', b'5;URL="{}/v1"'),
        (b"Refresh", b"5", b"5"),
    ],
)
def test_url_headers_are_rewritten(name: bytes, value: bytes, rewritten: bytes) -> None:
    """Each header has its own syntax of URLs."""
    value, rewritten = value.replace(b"{}", BANK.encode()), rewritten.replace(b"{}", US)
    assert rewriter().rewrite_header(name, value, US, has_base_path=False) == rewritten


PATH = st.text("/ab?#:%", max_size=12)


@given(base=st.sampled_from(["", "/a", "/a/b"]), path=PATH, based=st.booleans())
def test_rewritten_url_leads_to_the_same_resource(base: str, path: str, *, based: bool) -> None:
    """A caller that follows it reaches the original target."""
    url = f"https://bank.test{base}{path}".encode()
    for origin in (US, b""):
        rewritten = rewriter(f"https://bank.test{base}").rewrite_url(
            url, origin, has_base_path=based
        )
        if rewritten == url:
            continue
        target = rewritten.removeprefix(origin).partition(b"#")[0]
        assert not target.startswith(b"//")
        meant = url.removeprefix(b"https://bank.test").partition(b"#")[0]
        upstream = Router(base).route("GET", target).target
        assert upstream == (meant if meant.startswith(b"/") else b"/" + meant)
