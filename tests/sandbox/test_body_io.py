"""Request and response bodies."""

import asyncio
import uuid
from collections.abc import AsyncIterator

from tests.sandbox.caller import SandboxCaller
from tests.support.running import until


async def test_expect_continue(caller: SandboxCaller) -> None:
    """``100 Continue`` is sent when the body is read."""
    raw = await _upload(caller, "Expect: 100-continue\r\n")
    response = await caller.raw(raw, until=b" 200 OK\r\n")
    assert response.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_expect_refused(caller: SandboxCaller) -> None:
    """A refusal is sent without it."""
    raw = b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    assert (await caller.raw(raw, until=b"\r\n")).startswith(b"HTTP/1.1 401 ")


async def test_chunked_upload(caller: SandboxCaller) -> None:
    """It is read like a sized one."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000
            await asyncio.sleep(0)

    response = await caller.call("/upload", "POST", body=chunks())
    assert response.json()["bytes"] == 3000


async def test_truncated_upload(caller: SandboxCaller) -> None:
    """It is recorded as incomplete."""
    await caller.raw((await _upload(caller, ""))[:-3], until=b"")
    await until(lambda: caller.bank.arrivals and caller.bank.arrivals[-1].body_length)
    arrival = caller.bank.arrivals[-1]
    assert (arrival.body_length, arrival.complete) == (2, False)
    assert (await caller.call("/echo")).status == 200


async def test_malformed_chunk(caller: SandboxCaller) -> None:
    """The connection closes; the bank continues."""
    bearer = await caller.bearer()
    raw = (
        f"PUT /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n"
        f"transactionId: {uuid.uuid4()}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    )
    assert b" 200 OK" not in await caller.raw(raw.encode())
    assert (await caller.call("/echo")).status == 200


async def _upload(caller: SandboxCaller, header: str) -> bytes:
    bearer = await caller.bearer()
    return (
        f"PUT /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n{header}"
        f"transactionId: {uuid.uuid4()}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    ).encode()
