"""For applications that can only be given an HTTP proxy: the target is a whole URL.

Over a raw socket, before the sandbox bank; after each, the next good request works and no
credential has gone anywhere but to the bank (``proxy_under_test.py`` sees to that).
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
async def here() -> AsyncIterator[ProxyUnderTest]:
    """A proxy with its default limits."""
    async with proxy_under_test() as running_front:
        yield running_front


def bank(here: ProxyUnderTest, path: str = "") -> str:
    """Return a URL at the bank, as the application's base URL has it."""
    return here.bank.url + path


async def refused(here: ProxyUnderTest, data: bytes, status: int, name: str) -> RawResponse:
    """Send what must be refused, and see that nothing of it went on."""
    before = len(here.bank.arrivals)
    answer = await ask(here.app, data)
    assert (answer.status, answer.error) == (status, name)
    assert answer.header("x-proxy-error-source") == "caller"
    assert len(here.bank.arrivals) == before
    assert MARK not in str(answer.headers) + answer.body.decode() + here.log
    return answer


async def test_url_of_the_bank(here: ProxyUnderTest) -> None:
    """Is forwarded as its path would be, with a token, and with the configured Host."""
    host = here.bank.url.removeprefix("http://")
    data = request("GET", bank(here, "/echo/x?y=%7e"), "Proxy-Connection: keep-alive", host=host)
    answer = await ask(here.app, data)
    assert answer.status == 200
    (arrival,) = here.bank.arrivals
    assert arrival.target == "/echo/x?y=%7e"
    assert arrival.all("Host") == [host]
    assert arrival.header("Proxy-Connection") is None
    assert '"path": "/echo/x"' in here.log


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
async def test_url_of_the_proxy(here: ProxyUnderTest, name: str) -> None:
    """A server has to understand its own URLs; RFC 9112 says so."""
    port = here.app.data_address.port
    assert (await ask(here.app, request("GET", f"http://{name}:{port}/echo/x"))).status == 200
    assert here.bank.arrivals[-1].target == "/echo/x"


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
async def test_scheme(here: ProxyUnderTest, scheme: str) -> None:
    """Either will do: it is about the way to us, not about the way to the bank."""
    url = bank(here, "/echo").replace("http", scheme, 1)
    assert (await ask(here.app, request("GET", url))).status == 200


async def test_target_wins_over_host(here: ProxyUnderTest) -> None:
    """Where the two differ, as RFC 9112 has it; the bank sees neither but its own name."""
    answer = await ask(here.app, request("GET", bank(here, "/echo/x"), host="evil.test"))
    assert answer.status == 200
    (arrival,) = here.bank.arrivals
    assert arrival.all("Host") == [here.bank.url.removeprefix("http://")]
    location = await ask(
        here.app,
        request("GET", bank(here, f"/redirect?to={here.bank.url}/next"), host="evil.test"),
    )
    assert location.header("Location") == bank(here, "/next")


@pytest.mark.parametrize(
    "hosts",
    [[], ["Host: a", "Host: a"], ["Host: a@b"], ["Host:"]],
    ids=["none", "two", "a user in it", "empty"],
)
async def test_host_has_to_be_there(here: ProxyUnderTest, hosts: list[str]) -> None:
    """Once, and well-formed, although it decides nothing."""
    lines = [f"GET {bank(here, '/echo')} HTTP/1.1", *hosts, "", ""]
    await refused(here, "\r\n".join(lines).encode(), 400, "bad-host")


@pytest.mark.parametrize(
    "url",
    [
        *("http://evil.test/echo", "https://evil.test/echo", "http://127.0.0.1/echo"),
        *("http://127.0.0.1:1/echo", "http://127.0.0.1.evil.test/echo", "http://[::1]/echo"),
        *("http://localhost/echo", "http://2130706433/echo", "http://127.1/echo"),
    ],
)
async def test_any_other_origin(here: ProxyUnderTest, url: str) -> None:
    """Is refused, whatever the Host says: we are no proxy for the whole world."""
    host = here.bank.url.removeprefix("http://")
    await refused(here, request("GET", url, host=host), 400, "origin")


async def test_user_in_the_url(here: ProxyUnderTest) -> None:
    """Is refused: it may be a password, and it hides which host is meant."""
    for user in (MARK, f"me:{MARK}"):
        url = bank(here, "/echo").replace("//", f"//{user}@")
        await refused(here, request("GET", url), 400, "target")
    evil = bank(here).replace("//", f"//{MARK}:x@") + "@evil.test/echo"
    await refused(here, request("GET", evil), 400, "target")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/echo", "*"])
async def test_what_is_no_url(here: ProxyUnderTest, url: str) -> None:
    """As before."""
    await refused(here, request("OPTIONS", url), 400, "target")


async def test_tunnel(here: ProxyUnderTest) -> None:
    """Is refused with what to do: into TLS that is not ours, no token can be put."""
    authority = here.bank.url.removeprefix("http://")
    data = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
    answer = await refused(here, data, 405, "connect")
    assert "http://" in answer.json()["remedy"]
    assert answer.header("Connection") == "close"


@pytest.mark.parametrize(
    "path", ["/oauth2/v1/token", "/x/../oauth2/v1/revoke", "//oauth2/v1/token"]
)
async def test_token_endpoints(here: ProxyUnderTest, path: str) -> None:
    """Nobody mints or revokes tokens this way either."""
    await refused(here, request("POST", bank(here, path)), 403, "reserved")


async def test_policy() -> None:
    """Judges the path within the URL."""
    async with proxy_under_test(access={"allow": ["/echo/**"]}) as here:
        assert (await ask(here.app, request("GET", bank(here, "/echo/x")))).status == 200
        await refused(here, request("GET", bank(here, "/v1/accounts")), 403, "path-policy")


async def test_bodies_and_pipelines(here: ProxyUnderTest) -> None:
    """Each request ends where its framing says, whatever form its target has."""
    inner = b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"
    data = (
        request("POST", bank(here, "/echo/1"), f"Authorization: {BEARER}", body=inner)
        + request("GET", "/echo/2")
        + request("GET", bank(here, "/echo/3"))
    )
    async with connect(here.app) as wire:
        await wire.send(data)
        assert [(await wire.read_response()).status for _ in range(3)] == [200] * 3
    assert [arrival.target for arrival in here.bank.arrivals] == ["/echo/1", "/echo/2", "/echo/3"]
    assert here.bank.arrivals[0].body == inner


async def test_proxy_password(tmp_path: Path) -> None:
    """Shown as proxies' passwords are, it is the shared secret, and goes no further."""
    file = tmp_path / "secret"
    file.write_text("open-sesame")
    shown = base64.b64encode(b"app:open-sesame").decode()
    callers = {"secret_files": [str(file)]}
    async with Sandbox() as sandbox, running(sandbox, callers=callers) as app:
        url = f"{sandbox.url}/echo"
        for asking in (request("GET", url), request("CONNECT", "bank.test:443")):
            answer = await ask(app, asking)
            assert (answer.status, answer.error) == (407, "proxy-authentication")
            assert answer.header("Proxy-Authenticate") == 'Basic realm="candescent-proxy"'
        answer = await ask(app, request("GET", "/echo"))
        assert (answer.status, answer.header("Proxy-Authenticate")) == (403, None)
        data = request("GET", url, f"Proxy-Authorization: Basic {shown}")
        assert (await ask(app, data)).status == 200
        assert sandbox.bank.arrivals[-1].header("Proxy-Authorization") is None
