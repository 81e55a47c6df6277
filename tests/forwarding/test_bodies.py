"""Bodies, both ways: whole, in order, and never held whole."""

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


# What arrives.


@pytest.mark.parametrize("size", [1, 1000, 65_535, 65_536, 65_537, 3 * MB])
@pytest.mark.parametrize("in_chunks", [True, False], ids=["chunked", "sized"])
async def test_upload(size: int, *, in_chunks: bool) -> None:
    """Every byte in its place, in the framing that it came in."""
    body = b"".join(pattern(size))
    if in_chunks:
        head = request("POST", "/upload", "Transfer-Encoding: chunked")
        data = head + chunked(body[: size // 2] or b"x", body[size // 2 :])
        size, sent = size + (not size // 2), (body[: size // 2] or b"x") + body[size // 2 :]
    else:
        data, sent = request("POST", "/upload", body=body), body
    async with Sandbox() as bank, running(bank) as app:
        answer = await ask(app, data)
        assert answer.json()["bytes"] == len(sent)
        (arrival,) = bank.bank.arrivals
        assert (arrival.header("Transfer-Encoding") == "chunked") == in_chunks
        assert arrival.header("Content-Length") == (None if in_chunks else str(size))
        if not in_chunks:
            assert answer.json()["sha256"] == pattern_sha256(size)


async def test_empty_chunked_upload() -> None:
    """No chunk but the last is a body too."""
    async with Sandbox() as bank, running(bank) as app, connect(app) as wire:
        head = request("POST", "/upload", "Transfer-Encoding: chunked")
        assert (await wire.ask(head + b"0\r\n\r\n")).json()["bytes"] == 0
        await wire.send(head)
        await until(lambda: len(bank.bank.arrivals) == 2)
        await wire.send(b"0\r\n\r\n")
        assert (await wire.read_response()).json()["bytes"] == 0
        assert app.pool.opened_count == 1


async def test_upload_as_it_comes() -> None:
    """Each block is passed on when it is here, not when the body is."""
    script = [read_head(), send(b""), hold()]
    async with (
        ScriptedUpstream(script) as upstream,
        running(upstream.url, bearer_token="scripted") as app,
        connect(app) as wire,
    ):
        await wire.send(request("POST", "/", "Content-Length: 1000"))
        await until(lambda: upstream.requests)
        assert upstream.requests[0].startswith(b"POST / HTTP/1.1\r\n")


async def test_upload_and_request_in_pieces() -> None:
    """However head and body are cut up on their way."""
    async with Sandbox() as bank, running(bank) as app, connect(app) as wire:
        data = request("POST", "/upload", body=b"hello, world")
        await wire.send(*[data[at : at + 1] for at in range(len(data))])
        assert (await wire.read_response()).json()["bytes"] == 12


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_expectation(version: str) -> None:
    """Met for a caller that knows it; an HTTP/1.0 caller would not understand."""
    async with Sandbox() as bank, running(bank) as app, connect(app) as wire:
        head = request("POST", "/upload", "Content-Length: 5", "Expect: 100-continue")
        await wire.send(head.replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        await until(lambda: bank.bank.arrivals)
        if version == "1.1":
            assert (await wire.read_response()).status == 100
        await wire.send(b"hello")
        assert (await wire.read_response()).json()["bytes"] == 5


async def test_expectation_of_a_body_that_is_here() -> None:
    """Needs no answer of its own."""
    async with Sandbox() as bank, running(bank) as app:
        answer = await ask(app, request("POST", "/upload", "Expect: 100-continue", body=b"hello"))
        assert answer.json()["bytes"] == 5


async def test_answer_that_breaks_off() -> None:
    """With its head out, the caller's connection is cut; with nothing out yet, it is told."""
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
        answer = await ask(app, request("GET", "/"))
        assert (answer.status, answer.error) == (502, "upstream-truncated")
        await until(lambda: app.pool.open_count == 0)


def test_body_of_another_length_than_declared() -> None:
    """Were the parser wrong about a length, the next request would be read out of this body."""
    declared = CallerHeaders([(b"Host", b"localhost"), (b"Content-Length", b"4")])
    request = Request(cast(RequestConnection, None), "POST", b"/", (1, 1), [], keep_alive=True)
    request.body = Body(None)
    request.body.feed(b"abc")
    request.body.finish()
    with pytest.raises(CallerError) as caught:
        Upload(request, declared, CallerLimits()).framed_if_complete()
    assert caught.value.kind is kinds.BAD_BODY
