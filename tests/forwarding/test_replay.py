"""Replay after a refused token: which requests are repeated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.forwarding.context import Replay
from proxy.forwarding.patterns import Pattern
from proxy.sandbox import Fault, Sandbox
from tests.support.mounted_files import write
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture, sample
from tests.support.running import CLIENT, until

SEARCH = {"paths": [{"path": "/echo/search", "methods": ["POST", "DELETE"]}], "max_body": "1000"}


@asynccontextmanager
async def replaying_proxy(
    tmp_path: Path, *faults: Fault, replay: Any = SEARCH
) -> AsyncIterator[ProxyFixture]:
    """A proxy that may replay searches, in front of a bank with these faults."""
    write(tmp_path / "secret", CLIENT["client_secret"])
    async with Sandbox() as bank:
        bank.bank.faults.extend(faults)
        async with proxy_fixture(
            tmp_path / "proxy.yaml",
            bank,
            client_secret_file=str(tmp_path / "secret"),
            replay=replay,
            token={"min_interval": "0.001"},
        ) as fixture:
            yield fixture


def counted(fixture: ProxyFixture) -> tuple[float, ...]:
    """Return the numbers of refused tokens, replays, and refusals without replay."""
    names = ("token_rejections_total", "replays_total", "refused_not_replayed_total")
    return tuple(sample(fixture.app, f"candescent_proxy_{name}") for name in names)


def bodies(fixture: ProxyFixture) -> list[bytes]:
    """Return the bodies that the bank's resources received."""
    return [arrival.body for arrival in fixture.bank.bank.arrivals]


def tokens(fixture: ProxyFixture) -> list[str | None]:
    """Return the tokens that the bank's resources received."""
    return [arrival.header("authorization") for arrival in fixture.bank.bank.arrivals]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_safe_request_is_replayed_with_another_token(tmp_path: Path, method: str) -> None:
    """The caller gets the second response; the refused token is not sent again."""
    async with replaying_proxy(
        tmp_path, Fault("resource", code="CMN_90018", times=1), replay={}
    ) as fixture:
        assert await fixture.call("/echo", method=method) == 200
        first, second = tokens(fixture)
        assert first != second
        assert await fixture.call("/echo") == 200
        assert tokens(fixture)[2] == second
        assert counted(fixture) == (1, 1, 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [b"", b"x=1"])
async def test_unsafe_request_is_not_replayed(tmp_path: Path, method: str, body: bytes) -> None:
    """The caller gets the refusal unchanged; the next request has another token."""
    async with replaying_proxy(
        tmp_path, Fault("resource", code="CMN_90018", times=1), replay={}
    ) as fixture:
        async with fixture.caller.request(method, "/echo/search", data=body) as response:
            assert response.status == 401
            assert (await response.json())["code"] == "CMN_90018"
            assert "x-proxy-error-source" not in response.headers
        assert await fixture.call("/echo/search", method=method, data=body) == 200
        first, second = tokens(fixture)
        assert first != second
        assert counted(fixture) == (1, 0, 1)


@pytest.mark.parametrize(("method", "body"), [("POST", b'{"q": "x"}'), ("DELETE", b"")])
async def test_configured_route_is_replayed(tmp_path: Path, method: str, body: bytes) -> None:
    """A search is repeated unchanged except for its token."""
    async with replaying_proxy(tmp_path, Fault("resource", code="CMN_90018", times=1)) as fixture:
        assert await fixture.call("/echo/search?page=1", method=method, data=body) == 200
        first, second = fixture.bank.bank.arrivals
        assert (first.body, second.body) == (body, body)
        assert first.target == second.target == "/echo/search?page=1"
        assert [without_token(first.headers)] == [without_token(second.headers)]
        assert counted(fixture) == (1, 1, 0)


def without_token(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers without Authorization."""
    return [(name, value) for name, value in headers if name.lower() != b"authorization"]


async def test_second_refusal_goes_to_the_caller(tmp_path: Path) -> None:
    """There is one replay, and its response is forwarded unchanged."""
    async with replaying_proxy(
        tmp_path,
        Fault("resource", code="CMN_90018", times=1),
        Fault("resource", code="ACC_00601", message="no, really", times=1),
    ) as fixture:
        async with fixture.caller.post("/echo/search", data=b"x") as response:
            assert response.status == 401
            assert (await response.json())["message"] == "no, really"
        assert bodies(fixture) == [b"x", b"x"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/echo/search", {"method": "PUT", "data": b"x"}),
        ("/echo/searches", {"method": "POST", "data": b"x"}),
        ("/echo/search/../search", {"method": "POST", "data": b"x"}),
        ("/echo//search", {"method": "POST", "data": b"x"}),
        ("/echo/search", {"method": "POST", "data": b"x" * 1001}),
    ],
    ids=["method", "path", "dots", "slashes", "size"],
)
async def test_other_requests_are_not_replayed(
    tmp_path: Path, path: str, more: dict[str, Any]
) -> None:
    """Another method, path, spelling or size is not configured."""
    async with replaying_proxy(tmp_path, Fault("resource", code="CMN_90018", times=1)) as fixture:
        assert await raw(fixture, path, **more) == 401
        assert len(fixture.bank.bank.arrivals) == 1
        assert counted(fixture)[1:] == (0, 1)


async def raw(fixture: ProxyFixture, path: str, *, method: str, data: bytes) -> int:
    """Send a request whose path is not normalized; return the status."""
    address = fixture.app.data_address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    status = (await reader.readline())[9:12]
    writer.close()
    return int(status)


async def test_body_without_a_length_is_not_replayed(tmp_path: Path) -> None:
    """A chunked upload may be endless, so it is streamed."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with replaying_proxy(tmp_path, Fault("resource", code="CMN_90018", times=1)) as fixture:
        assert await fixture.call("/echo/search", method="POST", data=chunks()) == 401
        assert bodies(fixture) == [b"ab"]


async def test_payment_is_made_once(tmp_path: Path) -> None:
    """Whatever the bank responds after processing it, nothing is sent twice."""
    for fault in (
        Fault("resource", code="CMN_90018", late=True, times=1),
        Fault("resource", status=500, late=True, times=1),
        Fault("resource", reset=True, late=True, times=1),
        Fault("resource", cut=True, late=True, times=1),
    ):
        async with replaying_proxy(tmp_path, fault) as fixture:
            try:
                status = await fixture.call("/v1/transfers", method="POST", json={"amount": "1"})
            except aiohttp.ClientError:
                status = 0
            assert status != 201
            assert list(fixture.bank.bank.transfers.values()) == [1]


async def test_broken_connection_is_not_replayed(tmp_path: Path) -> None:
    """A configured route is replayed after a refusal only."""
    async with replaying_proxy(tmp_path) as fixture:
        assert await fixture.call("/echo/search", method="POST", data=b"1") == 200
        fixture.bank.bank.faults.append(Fault("resource", reset=True, times=1))
        assert await fixture.call("/echo/search", method="POST", data=b"2") == 502
        assert bodies(fixture) == [b"1", b"2"]
        assert counted(fixture) == (0, 0, 0)


async def test_buffered_body_gets_one_100_continue(tmp_path: Path) -> None:
    """The caller is asked once for a body that goes upstream twice."""
    async with replaying_proxy(tmp_path, Fault("resource", code="CMN_90018", times=1)) as fixture:
        address = fixture.app.data_address
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(
            b"POST /echo/search HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        response = await reader.read()
        assert response.startswith(b"HTTP/1.1 200")
        assert b"100 Continue" not in response
        assert bodies(fixture) == [b"hi", b"hi"]
        writer.close()


async def test_caller_disconnects_within_a_buffered_body(tmp_path: Path) -> None:
    """An incomplete body never reaches the bank."""
    async with replaying_proxy(tmp_path) as fixture:
        address = fixture.app.data_address
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"POST /echo/search HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        await until(lambda: fixture.app.forwarder.in_flight)
        writer.transport.abort()
        await until(lambda: not fixture.app.forwarder.in_flight)
        assert len(fixture.bank.bank.arrivals) == 0
        assert await fixture.call("/echo/search", method="POST", data=b"x") == 200


async def test_token_that_expires_during_a_body_is_not_sent(tmp_path: Path) -> None:
    """The token is taken when the request is sent, after a slow body."""
    async with replaying_proxy(tmp_path) as fixture:
        address = fixture.app.data_address
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"POST /echo/search HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha")
        await until(lambda: fixture.app.forwarder.in_flight)
        entry = next(fixture.app.tokens.entries())
        old = entry.token
        fixture.app.tokens.start_refresh(entry)
        await until(lambda: entry.token is not old)
        writer.write(b"lf")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert entry.token is not None
        assert tokens(fixture) == [f"Bearer {entry.token.text}"]
        writer.close()


async def test_token_that_expires_in_the_queue_is_not_sent(tmp_path: Path) -> None:
    """The token is taken when a connection is free."""
    write(tmp_path / "secret", CLIENT["client_secret"])
    async with proxy_fixture(
        tmp_path / "proxy.yaml",
        client_secret_file=str(tmp_path / "secret"),
        upstream={"max_connections": "1"},
    ) as fixture:
        first = asyncio.create_task(fixture.call("/slow?seconds=0.3"))
        await until(lambda: fixture.bank.bank.arrivals)
        second = asyncio.create_task(fixture.call("/echo"))
        await until(lambda: fixture.app.pool.waiting_count)
        entry = next(fixture.app.tokens.entries())
        old = entry.token
        fixture.app.tokens.start_refresh(entry)
        await until(lambda: entry.token is not old)
        assert [await first, await second] == [200, 200]
        assert entry.token is not None
        assert tokens(fixture)[1] == f"Bearer {entry.token.text}"


def test_no_route_is_replayed_by_default() -> None:
    """Without configuration, no path is replayed."""
    assert not Replay().allows("POST", b"/echo/search", 0)
    assert Replay((Pattern.parse("/echo/**"),), 10).allows("POST", b"/echo/search", 10)
