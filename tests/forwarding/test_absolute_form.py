"""Requests in absolute form (RFC 9112 section 3.2.2), from applications that use an HTTP proxy.

They run over a raw socket, in front of the sandbox bank. After each test ``proxy_under_test.py``
checks that the next request works and that credentials have gone to the bank only.
"""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.sandbox import Sandbox
from tests.hazards.proxy_under_test import BEARER, MARK, ProxyUnderTest, proxy_under_test
from tests.support.raw_client import RawResponse, ask, connect, request
from tests.support.running import running


@pytest.fixture
async def proxy() -> AsyncIterator[ProxyUnderTest]:
    """A proxy with its default limits."""
    async with proxy_under_test() as started:
        yield started


def bank_url(proxy: ProxyUnderTest, path: str = "") -> str:
    """Return the absolute URL of ``path`` at the bank."""
    return proxy.bank.url + path


async def assert_refused(proxy: ProxyUnderTest, data: bytes, status: int, name: str) -> RawResponse:
    """Check that a request is refused and that nothing reaches the bank."""
    before = len(proxy.bank.arrivals)
    response = await ask(proxy.app, data)
    assert (response.status, response.error) == (status, name)
    assert response.header("x-proxy-error-source") == "caller"
    assert len(proxy.bank.arrivals) == before
    assert MARK not in str(response.headers) + response.body.decode() + proxy.log
    return response


async def test_bank_url_is_forwarded(proxy: ProxyUnderTest) -> None:
    """A target with the bank's origin is forwarded with a token and the configured Host."""
    host = proxy.bank.url.removeprefix("http://")
    data = request(
        "GET", bank_url(proxy, "/echo/x?y=%7e"), "Proxy-Connection: keep-alive", host=host
    )
    response = await ask(proxy.app, data)
    assert response.status == 200
    (arrival,) = proxy.bank.arrivals
    assert arrival.target == "/echo/x?y=%7e"
    assert arrival.all("Host") == [host]
    assert arrival.header("Proxy-Connection") is None
    assert '"path": "/echo/x"' in proxy.log


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
async def test_own_url_is_forwarded(proxy: ProxyUnderTest, name: str) -> None:
    """A target with the proxy's own origin is accepted (RFC 9112 section 3.2.2)."""
    port = proxy.app.data_address.port
    assert (await ask(proxy.app, request("GET", f"http://{name}:{port}/echo/x"))).status == 200
    assert proxy.bank.arrivals[-1].target == "/echo/x"


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
async def test_any_scheme_is_accepted(proxy: ProxyUnderTest, scheme: str) -> None:
    """The scheme concerns the caller's connection and is ignored."""
    url = bank_url(proxy, "/echo").replace("http", scheme, 1)
    assert (await ask(proxy.app, request("GET", url))).status == 200


async def test_target_overrides_host(proxy: ProxyUnderTest) -> None:
    """The target's authority replaces Host (RFC 9112 section 3.2.2); the bank gets its own host."""
    response = await ask(proxy.app, request("GET", bank_url(proxy, "/echo/x"), host="evil.test"))
    assert response.status == 200
    (arrival,) = proxy.bank.arrivals
    assert arrival.all("Host") == [proxy.bank.url.removeprefix("http://")]
    location = await ask(
        proxy.app,
        request("GET", bank_url(proxy, f"/redirect?to={proxy.bank.url}/next"), host="evil.test"),
    )
    assert location.header("Location") == bank_url(proxy, "/next")


@pytest.mark.parametrize(
    "hosts",
    [[], ["Host: a", "Host: a"], ["Host: a@b"], ["Host:"]],
    ids=["none", "two", "a user in it", "empty"],
)
async def test_missing_or_invalid_host_is_refused(proxy: ProxyUnderTest, hosts: list[str]) -> None:
    """An absolute target does not replace a valid Host field."""
    lines = [f"GET {bank_url(proxy, '/echo')} HTTP/1.1", *hosts, "", ""]
    await assert_refused(proxy, "\r\n".join(lines).encode(), 400, "bad-host")


@pytest.mark.parametrize(
    "url",
    [
        *("http://evil.test/echo", "https://evil.test/echo", "http://127.0.0.1/echo"),
        *("http://127.0.0.1:1/echo", "http://127.0.0.1.evil.test/echo", "http://[::1]/echo"),
        *("http://localhost/echo", "http://2130706433/echo", "http://127.1/echo"),
    ],
)
async def test_other_origin_is_refused(proxy: ProxyUnderTest, url: str) -> None:
    """The proxy forwards to the bank only, whatever the Host field says."""
    host = proxy.bank.url.removeprefix("http://")
    await assert_refused(proxy, request("GET", url, host=host), 400, "origin")


async def test_userinfo_in_url_is_refused(proxy: ProxyUnderTest) -> None:
    """Userinfo may be a password, and it can disguise the host."""
    for user in (MARK, f"me:{MARK}"):
        url = bank_url(proxy, "/echo").replace("//", f"//{user}@")
        await assert_refused(proxy, request("GET", url), 400, "target")
    evil = bank_url(proxy).replace("//", f"//{MARK}:x@") + "@evil.test/echo"
    await assert_refused(proxy, request("GET", evil), 400, "target")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/echo", "*"])
async def test_invalid_url_is_refused(proxy: ProxyUnderTest, url: str) -> None:
    """Only http and https URLs are accepted."""
    await assert_refused(proxy, request("OPTIONS", url), 400, "target")


@pytest.mark.parametrize(
    "path", ["/oauth2/v1/token", "/x/../oauth2/v1/revoke", "//oauth2/v1/token"]
)
async def test_token_endpoints_are_refused(proxy: ProxyUnderTest, path: str) -> None:
    """Token endpoints are reserved in absolute form too."""
    await assert_refused(proxy, request("POST", bank_url(proxy, path)), 403, "reserved")


async def test_access_policy_uses_path_of_url() -> None:
    """The access policy sees the path within the URL."""
    async with proxy_under_test(access={"allow": ["/echo/**"]}) as proxy:
        assert (await ask(proxy.app, request("GET", bank_url(proxy, "/echo/x")))).status == 200
        await assert_refused(
            proxy, request("GET", bank_url(proxy, "/v1/accounts")), 403, "path-policy"
        )


async def test_pipelined_requests_keep_their_framing(proxy: ProxyUnderTest) -> None:
    """Each request ends where its framing says, in origin and absolute form."""
    inner = b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"
    data = (
        request("POST", bank_url(proxy, "/echo/1"), f"Authorization: {BEARER}", body=inner)
        + request("GET", "/echo/2")
        + request("GET", bank_url(proxy, "/echo/3"))
    )
    async with connect(proxy.app) as wire:
        await wire.send(data)
        assert [(await wire.read_response()).status for _ in range(3)] == [200] * 3
    assert [arrival.target for arrival in proxy.bank.arrivals] == ["/echo/1", "/echo/2", "/echo/3"]
    assert proxy.bank.arrivals[0].body == inner


async def test_proxy_password_is_the_shared_secret(tmp_path: Path) -> None:
    """Proxy-Authorization carries the shared secret and is not forwarded."""
    file = tmp_path / "secret"
    file.write_text("open-sesame")
    credentials = base64.b64encode(b"app:open-sesame").decode()
    callers = {"secret_files": [str(file)]}
    async with Sandbox() as sandbox, running(sandbox, callers=callers) as app:
        url = f"{sandbox.url}/echo"
        for unauthenticated in (request("GET", url), request("CONNECT", "bank.test:443")):
            response = await ask(app, unauthenticated)
            assert (response.status, response.error) == (407, "proxy-authentication")
            assert response.header("Proxy-Authenticate") == 'Basic realm="candescent-proxy"'
        response = await ask(app, request("GET", "/echo"))
        assert (response.status, response.header("Proxy-Authenticate")) == (403, None)
        data = request("GET", url, f"Proxy-Authorization: Basic {credentials}")
        assert (await ask(app, data)).status == 200
        assert sandbox.bank.arrivals[-1].header("Proxy-Authorization") is None
