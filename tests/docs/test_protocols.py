"""docs/protocols.md, tested on the wire."""

import asyncio

from proxy.sandbox import Sandbox
from tests.support.raw_client import ask, connect, request
from tests.support.running import DEADLINE, running
from tests.support.upstream_server import ScriptedUpstream, hold, read, response_head, send, wait

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EVENTS = response_head(b"200 OK", b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked")


async def test_server_sent_event_arrives_before_the_next() -> None:
    """The bank waits until the first has arrived."""
    script = [
        *(read(), send(EVENTS, b"9\r\ndata: 1\n\n\r\n"), wait()),
        *(send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"), hold()),
    ]
    async with (
        ScriptedUpstream(script) as upstream,
        running(upstream.url, bearer_token="scripted") as app,
        connect(app) as wire,
        asyncio.timeout(DEADLINE),
    ):
        await wire.send(request("GET", "/v1/stream"))
        await wire.reader.readuntil(b"data: 1\n\n")
        upstream.may_continue.set()
        await wire.reader.readuntil(b"data: 2\n\n")
        await wire.reader.readuntil(b"\r\n0\r\n\r\n")


async def test_http_2_by_prior_knowledge_is_refused() -> None:
    """505, and the connection closes."""
    async with Sandbox() as bank, running(bank) as app, connect(app) as wire:
        await wire.send(PREFACE)
        response = await wire.read_response()
        assert (response.status, response.error) == (505, "version")
        assert await wire.read_to_end() == b""


async def test_grpc_web_passes() -> None:
    """As an HTTP/1.1 request; ``TE`` is hop-by-hop."""
    frame = b"\0\0\0\0\3abc"
    headers = ("Content-Type: application/grpc-web+proto", f"Content-Length: {len(frame)}")
    async with Sandbox() as bank, running(bank) as app:
        response = await ask(app, request("POST", "/echo", "TE: trailers", *headers) + frame)
        arrival = bank.bank.arrivals[-1]
    assert response.status == 200
    assert arrival.header("Content-Type") == "application/grpc-web+proto"
    assert arrival.header("TE") is None
