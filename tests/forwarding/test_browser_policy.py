"""Browser policy: which Host values are accepted, and which web pages may call."""

import pytest

from proxy.errors import CallerError, kinds
from proxy.forwarding.browser_policy import MAX_KNOWN, BrowserPolicy, without_cors

APP = "https://app.example.com"
POLICY = BrowserPolicy(["gateway.bank.svc", "*.proxy.example.com", "Plain"], [APP])


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "10.1.2.3", "[2001:db8::1]:80"),
        *("localhost", "LocalHost:8080", "localhost.", "app.localhost:8080"),
        *("gateway.bank.svc", "GATEWAY.bank.svc:80", "gateway.bank.svc.:80", "plain:1"),
        *("a.proxy.example.com", "a.b.proxy.example.com:443"),
    ],
)
def test_allowed_hosts(host: str) -> None:
    """IP addresses, local names and configured names are accepted."""
    POLICY.check_host(host.encode())
    POLICY.check_host(host.encode())  # cached


@pytest.mark.parametrize(
    "host",
    [
        *("evil.test", "evil.test:8080", "local.attacker.test:8080", "evil", "x"),
        *("127.0.0.1.evil.test", "localhost.evil.test", "notlocalhost", "evil.gateway.bank.svc"),
        *("proxy.example.com", "evilproxy.example.com", "a.proxy.example.com.evil.test"),
        *("0.0.0.0:8080", "[::]:8080", "[::ffff:0.0.0.0]:8080", "[::ffff:7f00:1]:8080"),
        *("0x7f.1", "2130706433", "127.1", "127.0.0.1:80:80", "[::1", "::1", "", "a b"),
    ],
)
def test_refused_hosts(host: str) -> None:
    """Other names can be rebound to this machine; some addresses are this machine to a browser."""
    with pytest.raises(CallerError) as caught:
        POLICY.check_host(host.encode())
    assert caught.value.kind is kinds.HOST_NOT_ALLOWED
    assert caught.value.given == host.encode()


def test_host_check_can_be_disabled() -> None:
    """The wildcard accepts every host."""
    BrowserPolicy(["*"]).check_host(b"anything.test")


def test_host_cache_is_bounded() -> None:
    """Many different hosts do not fill memory."""
    policy = BrowserPolicy(["*.example.com"])
    for number in range(2 * MAX_KNOWN):
        policy.check_host(b"%d.example.com" % number)
    policy.check_host(b"a" * 300 + b".example.com")
    assert len(policy._known) == MAX_KNOWN


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (APP, "localhost:8080", APP),
        (APP.upper(), "localhost:8080", APP.upper()),
        ("http://localhost:8080", "localhost:8080", ""),
        ("http://localhost", "LOCALHOST:80", ""),
        ("https://localhost", "localhost", ""),
    ],
)
def test_allowed_origins(origin: str, host: str, allowed: str) -> None:
    """An allowed origin is returned; a page of the proxy's own origin needs no CORS."""
    site = b"cross-site" if allowed else b"same-origin"
    assert POLICY.check_page(host.encode(), [origin.encode()], site) == allowed.encode()


@pytest.mark.parametrize(
    ("origins", "site"),
    [
        (["http://attacker.test"], ""),
        (["http://localhost:3000"], ""),
        (["http://localhost"], ""),
        (["http://localhost:8080.evil.test"], ""),
        (["http://app.example.com"], ""),
        (["https://app.example.com:8443"], ""),
        (["https://app.example.com.evil.test"], ""),
        (["null"], "same-origin"),
        ([""], ""),
        (["chrome-extension://abcdef"], ""),
        ([APP, APP], ""),
        (["http://attacker.test"], "none"),
        (["http://attacker.test"], "same-origin"),
        ([], "cross-site"),
        ([], "same-site"),
        ([], "Cross-Site"),
        ([], "nonsense"),
    ],
)
def test_foreign_origins_are_refused(origins: list[str], site: str) -> None:
    """A foreign origin is refused, and so is a cross-site request without an origin."""
    with pytest.raises(CallerError) as caught:
        POLICY.check_page(b"localhost:8080", [one.encode() for one in origins], site.encode())
    assert caught.value.kind is kinds.CROSS_SITE
    assert caught.value.given == (", ".join(origins) or site).encode()


@pytest.mark.parametrize("site", ["", "none", "same-origin"])
def test_request_of_no_page_has_no_origin(site: str) -> None:
    """Requests of users and applications have no origin."""
    assert POLICY.check_page(b"localhost:8080", [], site.encode()) == b""


def test_cors_headers_of_the_bank_are_dropped() -> None:
    """The proxy's CORS headers replace the bank's."""
    lines = [b"A", b": ", b"1", b"\r\n", b"access-Control-allow-origin", b": ", b"*", b"\r\n"]
    assert without_cors(lines) == lines[:4]
