"""CONNECT: tunnels to the bank's own name are served, others are refused."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.sandbox import Sandbox
from tests.forwarding.test_absolute_form import assert_refused
from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test
from tests.support.raw_client import ask, connect, request
from tests.support.running import running


@pytest.fixture
async def proxy() -> AsyncIterator[ProxyUnderTest]:
    """A proxy with its default limits."""
    async with proxy_under_test() as proxy:
        yield proxy


def connect_to(authority: str, *lines: str, version: str = "1.1") -> bytes:
    """Return a CONNECT."""
    head = [f"CONNECT {authority} HTTP/{version}", f"Host: {authority}", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


@pytest.mark.parametrize(
    "authority", ["evil.test:443", "evil.test:80", "127.0.0.1:443", "127.0.0.1:80", "localhost"]
)
async def test_tunnel_to_another_host_is_refused(proxy: ProxyUnderTest, authority: str) -> None:
    """No token can be added inside a caller's TLS; the response has a remedy."""
    response = await assert_refused(proxy, connect_to(authority), 405, "connect")
    assert "http://" in response.json()["remedy"]
    assert response.header("Connection") == "close"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("together", [True, False])
async def test_tunnel_to_the_bank_is_served(
    proxy: ProxyUnderTest, version: str, *, together: bool
) -> None:
    """Requests inside are served like those outside, with keep-alive."""
    authority = proxy.bank.url.removeprefix("http://")
    start = connect_to(authority, "Proxy-Connection: keep-alive", version=version)
    inside = request("POST", "/echo/a", body=b"CONNECT evil:1 HTTP/1.1\r\n\r\n", host=authority)
    async with connect(proxy.app) as wire:
        await wire.send(*([start + inside] if together else [start]))
        accepted = await wire.read_response(bodiless=True)
        assert (accepted.status, accepted.headers) == (200, [])
        if not together:
            await wire.send(inside)
        assert (await wire.read_response()).json()["body"]["bytes"] == 27
        assert (await wire.ask(request("GET", "/echo/b", host=authority))).status == 200
        assert (
            await wire.ask(request("GET", proxy.bank.url + "/echo/c", host=authority))
        ).status == 200
        await wire.send(request("GET", "/echo/d") + request("GET", "/echo/e"))
        assert [(await wire.read_response()).status for _ in range(2)] == [200, 200]
    assert [arrival.target for arrival in proxy.bank.arrivals] == [f"/echo/{x}" for x in "abcde"]
    assert {*proxy.bank.arrivals[0].all("Host")} == {authority}


@pytest.mark.parametrize(
    ("inside", "status", "name"),
    [
        (request("POST", "/oauth2/v1/token"), 403, "reserved"),
        (request("GET", "/", "Origin: https://evil.test"), 403, "cross-site"),
        (request("GET", "/", host="evil.test"), 403, "host-not-allowed"),
        (request("GET", "http://evil.test/"), 400, "origin"),
        (connect_to("evil.test:443"), 405, "connect"),
        (request("GET", "/" + "x" * 9000), 414, "target-too-long"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "tls-on-http"),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", 400, "unreadable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_rules_hold_within_a_tunnel(inside: bytes, status: int, name: str) -> None:
    """Hosts, pages, paths and sizes are checked as on the listener."""
    async with proxy_under_test(allowed_hosts=[]) as proxy, connect(proxy.app) as wire:
        start = connect_to(proxy.bank.url.removeprefix("http://"))
        assert (await wire.ask_for_tunnel(start)).status == 200
        response = await wire.ask(inside)
        assert (response.status, response.error) == (status, name)
        assert not proxy.bank.arrivals


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Content-Length: 0",), 400),
        (("Transfer-Encoding: chunked",), 400),
        (("Origin: https://evil.test",), 403),
        (("Sec-Fetch-Site: cross-site",), 403),
    ],
)
async def test_connect_of_a_page_or_with_a_body_is_refused(
    proxy: ProxyUnderTest, lines: tuple[str, ...], status: int
) -> None:
    """The bytes after it are not read."""
    start = connect_to(proxy.bank.url.removeprefix("http://"), *lines)
    async with connect(proxy.app) as wire:
        await wire.send(start + request("GET", "/echo"))
        assert (await wire.read_response()).status == status
        assert await wire.read_to_end() == b""
    assert not proxy.bank.arrivals


async def test_secret_of_the_connect_holds_within_the_tunnel(tmp_path: Path) -> None:
    """Clients send it with the CONNECT only; other connections do not gain by it."""
    file = tmp_path / "secret"
    file.write_text("open-sesame")
    async with (
        Sandbox() as bank,
        running(bank, callers={"secret_files": [str(file)]}) as app,
        connect(app) as wire,
        connect(app) as other,
    ):
        authority = bank.url.removeprefix("http://")
        basic = base64.b64encode(b"any:open-sesame").decode()
        refusal = await other.ask(connect_to(authority))
        assert (refusal.status, refusal.error) == (407, "proxy-authentication")
        start = connect_to(authority, f"Proxy-Authorization: Basic {basic}")
        assert (await wire.ask_for_tunnel(start)).status == 200
        for _ in range(2):
            assert (await wire.ask(request("GET", "/echo", host=authority))).status == 200
        wrong = request("GET", "/echo", "Proxy-Authorization: Bearer wrong", host=authority)
        assert (await wire.ask(wrong)).status == 403
        assert (await ask(app, request("GET", "/echo"))).status == 403
        assert all(one.header("Proxy-Authorization") is None for one in bank.bank.arrivals)


async def test_curl_through_a_tunnel() -> None:
    """Curl -p asks for a tunnel for an http:// URL."""
    async with Sandbox() as bank, running(bank) as app:
        command = ["curl", "-sS", "--noproxy", "", "-p", "-x", f"http://{app.data_address}"]
        curl = await asyncio.create_subprocess_exec(
            *command, f"{bank.url}/echo/x", f"{bank.url}/echo/y", stdout=asyncio.subprocess.DEVNULL
        )
        assert await curl.wait() == 0
        assert [one.target for one in bank.bank.arrivals] == ["/echo/x", "/echo/y"]
