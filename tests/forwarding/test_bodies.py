"""Request and response bodies: complete, in order, streamed."""

from typing import cast

import pytest

from proxy.errors import CallerError, kinds
from proxy.forwarding.bodies import Upload
from proxy.forwarding.headers import CallerHeaders
from proxy.sandbox import Sandbox, pattern, pattern_sha256
from proxy.server.limits import CallerLimits
from proxy.server.messages import Body, Request, RequestConnection
from tests.support.raw_client import ask, connect, request
from tests.support.running import running, until
from tests.support.upstream_server import ScriptedUpstream, hold, read_head, send, wait

EVERY_LOOP = True

MB = 1_000_000


def chunked(*blocks: bytes) -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks) + b"0\r\n\r\n"


# Uploads.


@pytest.mark.parametrize("size", [1, 1000, 65_535, 65_536, 65_537, 3 * MB])
@pytest.mark.parametrize("in_chunks", [True, False], ids=["chunked", "sized"])
async def test_upload_arrives_complete(size: int, *, in_chunks: bool) -> None:
    """The upload arrives unchanged in its original framing."""
    body = b"".join(pattern(size))
    if in_chunks:
        head = request("POST", "/upload", "Transfer-Encoding: chunked")
        data = head + chunked(body[: size // 2] or b"x", body[size // 2 :])
        size, sent = size + (not size // 2), (body[: size // 2] or b"x") + body[size // 2 :]
    else:
        data, sent = request("POST", "/upload", body=body), body
    async with Sandbox() as bank, running(bank) as app:
        response = await ask(app, data)
        assert response.json()["bytes"] == len(sent)
        (arrival,) = bank.bank.arrivals
        assert (arrival.header("Transfer-Encoding") == "chunked") == in_chunks
        assert arrival.header("Content-Length") == (None if in_chunks else str(size))
        if not in_chunks:
            assert response.json()["sha256"] == pattern_sha256(size)


async def test_empty_chunked_upload_is_forwarded() -> None:
    """A chunked body of the last chunk only is valid."""
    async with Sandbox() as bank, running(bank) as app, connect(app) as wire:
        head = request("POST", "/upload", "Transfer-Encoding: chunked")
        assert (await wire.ask(head + b"0\r\n\r\n")).json()["bytes"] == 0
        await wire.send(head)
        await until(lambda: len(bank.bank.arrivals) == 2)
        await wire.send(b"0\r\n\r\n")
        assert (await wire.read_response()).json()["bytes"] == 0
        assert app.pool.opened_count == 1


async def test_upload_is_streamed() -> None:
    """The head is forwarded before the body is complete."""
    script = [read_head(), send(b""), hold()]
    async with (
        ScriptedUpstream(script) as upstream,
        running(upstream.url, bearer_token="scripted") as app,
        connect(app) as wire,
    ):
        await wire.send(request("POST", "/", "Content-Length: 1000"))
        await until(lambda: upstream.requests)
        assert upstream.requests[0].startswith(b"POST / HTTP/1.1\r\n")


async def test_upload_in_single_bytes_is_forwarded() -> None:
    """Head and body may arrive in any pieces."""
    async with Sandbox() as bank, running(bank) as app, connect(app) as wire:
        data = request("POST", "/upload", body=b"hello, world")
        await wire.send(*[data[at : at + 1] for at in range(len(data))])
        assert (await wire.read_response()).json()["bytes"] == 12


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_100_continue_is_sent_to_http_1_1_only(version: str) -> None:
    """An HTTP/1.0 caller gets no interim response (RFC 9110 section 10.1.1)."""
    async with Sandbox() as bank, running(bank) as app, connect(app) as wire:
        head = request("POST", "/upload", "Content-Length: 5", "Expect: 100-continue")
        await wire.send(head.replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        await until(lambda: bank.bank.arrivals)
        if version == "1.1":
            assert (await wire.read_response()).status == 100
        await wire.send(b"hello")
        assert (await wire.read_response()).json()["bytes"] == 5


async def test_expect_with_complete_body_gets_no_100() -> None:
    """The interim response is omitted when the body has arrived."""
    async with Sandbox() as bank, running(bank) as app:
        response = await ask(app, request("POST", "/upload", "Expect: 100-continue", body=b"hello"))
        assert response.json()["bytes"] == 5


async def test_truncated_response() -> None:
    """After its head the caller's connection is reset; before it the caller gets a 502."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    async with (
        ScriptedUpstream(
            [read_head(), send(head + b"abc"), wait()], [read_head(), send(head)]
        ) as upstream,
        running(upstream.url, bearer_token="scripted") as app,
    ):
        async with connect(app) as wire:
            await wire.send(request("GET", "/"))
            assert await wire.reader.readuntil(b"abc")
            upstream.may_continue.set()
            assert await wire.ends_with_reset()
        response = await ask(app, request("GET", "/"))
        assert (response.status, response.error) == (502, "upstream-truncated")
        await until(lambda: app.pool.open_count == 0)


def test_body_of_wrong_length_is_refused() -> None:
    """A body shorter than its Content-Length is an error even if the parser accepted it."""
    declared = CallerHeaders([(b"Host", b"localhost"), (b"Content-Length", b"4")])
    request = Request(cast(RequestConnection, None), "POST", b"/", (1, 1), [], keep_alive=True)
    request.body = Body(None)
    request.body.feed(b"abc")
    request.body.finish()
    with pytest.raises(CallerError) as caught:
        Upload(request, declared, CallerLimits()).framed_if_complete()
    assert caught.value.kind is kinds.BAD_BODY
