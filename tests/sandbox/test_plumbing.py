"""Resources that test the transport."""

import gzip
import hashlib
import json
import uuid
from collections.abc import AsyncIterator

import pytest

from proxy.sandbox.payloads import pattern, pattern_sha256
from tests.sandbox.caller import SandboxCaller


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_echo(caller: SandboxCaller, method: str) -> None:
    """Method, raw target, and length and digest of the body."""
    response = await caller.call("/echo/a/%2e%2e;x//b?c=%zz", method, body=b"hello")
    seen = response.json()
    assert (seen["method"], seen["target"]) == (method, "/echo/a/%2e%2e;x//b?c=%zz")
    assert seen["body"] == {"bytes": 5, "sha256": hashlib.sha256(b"hello").hexdigest()}


async def test_echo_keeps_order_and_case(caller: SandboxCaller) -> None:
    """Of headers."""
    sent = [
        ("authorization", f"Bearer {await caller.bearer()}"),
        ("X-Twice", "1"),
        ("TransactionID", str(uuid.uuid4())),
        ("x-twice", "2"),
    ]
    seen = (await caller.twice("/echo", *sent)).json()["headers"]
    assert [tuple(pair) for pair in seen][2:] == sent


async def test_echo_head(caller: SandboxCaller) -> None:
    """Like GET without a body."""
    assert (await caller.call("/echo", "HEAD")).body == b""


async def test_v1_echo(caller: SandboxCaller) -> None:
    """Below ``/fis/``, with a V1 token."""
    seen = (await caller.call("/any/fis/00017/echo")).json()
    assert (seen["generation"], seen["institution"]) == ("V1", "00017")


async def test_gzip(caller: SandboxCaller) -> None:
    """Activities are always compressed."""
    response = await caller.call("/gzip")
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(response.body))["activities"]) == 200


@pytest.mark.parametrize("status", [200, 201, 404, 500, 599])
async def test_status(caller: SandboxCaller, status: int) -> None:
    """Any status, with a body."""
    response = await caller.call(f"/status/{status}")
    assert (response.status, response.json()) == (status, {"status": status})


@pytest.mark.parametrize("status", [204, 304])
async def test_status_without_body(caller: SandboxCaller, status: int) -> None:
    """204 and 304."""
    response = await caller.call(f"/status/{status}")
    assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize("status", ["100", "199", "600", "x", "CMN_90006/99"])
async def test_invalid_status(caller: SandboxCaller, status: str) -> None:
    """CMN_90011 or a 404."""
    assert (await caller.call(f"/status/{status}")).status in (400, 404)


@pytest.mark.parametrize("size", [0, 1, 65511, 1_000_003])
@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
async def test_download(caller: SandboxCaller, size: int, chunked: str) -> None:
    """A pattern of any size, sized or chunked."""
    response = await caller.call(f"/download?bytes={size}{chunked}")
    assert response.body == b"".join(pattern(size))
    assert ("Content-Length" in response.headers) is not bool(chunked)


async def test_download_head(caller: SandboxCaller) -> None:
    """With the length."""
    response = await caller.call("/download?bytes=1000", "HEAD")
    assert (response.headers["Content-Length"], response.body) == ("1000", b"")


async def test_upload(caller: SandboxCaller) -> None:
    """It is counted and digested, not stored."""

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in pattern(5_000_000):
            yield chunk

    response = await caller.call("/upload", "PUT", body=chunks())
    assert response.json() == {"bytes": 5_000_000, "sha256": pattern_sha256(5_000_000)}
    arrival = caller.bank.arrivals[-1]
    assert (arrival.body_length, arrival.body, arrival.complete) == (5_000_000, b"", True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect(caller: SandboxCaller, status: int) -> None:
    """To any URL."""
    response = await caller.call(f"/redirect?to=http://evil/%3Fa&status={status}")
    assert (response.status, response.headers["Location"]) == (status, "http://evil/?a")


@pytest.mark.parametrize("query", ["", "?to=", "?to=x&status=200", "?to=a%0d%0ab"])
async def test_invalid_redirect(caller: SandboxCaller, query: str) -> None:
    """It is CMN_90011."""
    assert (await caller.call(f"/redirect{query}")).code == "CMN_90011"


async def test_slow(caller: SandboxCaller) -> None:
    """It waits as requested, within a limit."""
    assert (await caller.call("/slow?seconds=0.01")).json() == {"waited": 0.01}
    assert (await caller.call("/slow?seconds=999999")).code == "CMN_90011"
    assert (await caller.call("/slow?seconds=x")).code == "CMN_90011"


async def test_slow_body(caller: SandboxCaller) -> None:
    """Between head and body."""
    assert len((await caller.call("/download?bytes=10&slow=0.01")).body) == 10


async def test_interim(caller: SandboxCaller) -> None:
    """103 precedes 200."""
    bearer = await caller.bearer()
    raw = (
        f"GET /interim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n"
        f"transactionId: {uuid.uuid4()}\r\nConnection: close\r\n\r\n"
    )
    response = await caller.raw(raw.encode())
    assert response.startswith(b"HTTP/1.1 103 ")
    assert b"\r\n\r\nHTTP/1.1 200 OK\r\n" in response
