"""Responses that belong to another request, and responses with white space before a colon."""

import re

import pytest

from tests.hazards.test_bad_upstream import proxy_before
from tests.support.proxy_fixture import sample
from tests.support.raw_client import connect, request
from tests.support.upstream_server import (
    ScriptStep,
    UpstreamConnection,
    close,
    hold,
    ok,
    read,
    respond_to_all,
    response_head,
    send,
    wait,
)


def respond_to(at: int, body: bytes = b"", *lines: bytes) -> ScriptStep:
    """Send a response with the ``transactionId`` of the request number ``at``."""

    async def step(link: UpstreamConnection) -> None:
        found = re.search(rb"(?i)transactionId: (\S+)", link.upstream.requests[at])
        assert found
        link.writer.write(ok(body, b"TransactionID: " + found[1].upper(), *lines))

    return step


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_response_to_another_request_is_a_502(method: str) -> None:
    """A second response while the next request is in flight does not reach its caller."""
    script = [read(), respond_to(0, b"one"), read(), respond_to(0, b"not yours"), hold()]
    async with proxy_before(script) as (proxy, upstream), connect(proxy.app) as wire:
        assert (await wire.ask()).body == b"one"
        got = await wire.ask(request(method, "/echo"))
        assert (got.status, b"not yours" in got.body) == (502, False)
        assert got.header("x-proxy-error-source") == "upstream"
        assert got.header("transactionId") == proxy.records[1].transaction_id
        assert proxy.records[1].reason == "upstream-cross-talk"
        labels = {"error_source": "upstream", "reason": "upstream-cross-talk"}
        assert sample(proxy.app, "candescent_proxy_errors_total", **labels) == 1
        assert (await wire.ask()).body == b"yes"
        assert len(upstream.requests) == 3  # nothing was sent again
        assert upstream.connections == 2


@pytest.mark.parametrize(
    "late",
    [
        [respond_to(0, b"not yours")],
        [send(b"HTTP/1.1 100 Continue\r\n\r\n"), respond_to(0, b"not yours")],
        [send(b"HTTP/1.1 103 Early\r\n\r\n"), respond_to(0, b"not yours"), respond_to(1, b"x")],
        [respond_to(0, b"not yours", b"Connection: close"), close()],
        [
            respond_to(
                0, b"not yours", b"transactionId: " + b"0" * 8 + b"-0000" * 3 + b"-" + b"0" * 12
            )
        ],
        [respond_to(0, b"x" * 300_000)],
    ],
    ids=["at once", "behind a 100", "with the right one behind it", "closing", "two", "large"],
)
async def test_response_to_another_request_among_others(late: list[ScriptStep]) -> None:
    """Interim responses, the right response after it, or a large body make no difference."""
    script = [read(), respond_to(0, b"one"), read(), *late, hold()]
    async with proxy_before(script) as (proxy, upstream), connect(proxy.app) as wire:
        assert (await wire.ask()).body == b"one"
        got = await wire.ask()
        assert (got.status, got.error) == (502, "upstream-cross-talk")
        assert (await wire.ask()).body == b"yes"
        assert upstream.connections == 2


@pytest.mark.parametrize(("name", "status"), [(b"di_tid", 502), (b"transactionId", 200)])
async def test_v1_response_to_another_request(name: bytes, status: int) -> None:
    """V1 calls have a ``di_tid``; a ``transactionId`` is then the bank's own."""
    call = request("GET", "/banking/v2/fis/00016/fiCustomers/1")

    async def respond(link: UpstreamConnection) -> None:
        found = re.search(rb"\r\ndi_tid: (\S+)", link.upstream.requests[0])
        assert found
        link.writer.write(ok(b"", name + b": " + found[1]))

    script = [read(), send(ok(b"")), read(), respond, *respond_to_all()]
    async with proxy_before(script) as (proxy, _), connect(proxy.app) as wire:
        assert (await wire.ask(call)).status == 200
        assert (await wire.ask(call)).status == status


async def test_response_to_another_callers_request() -> None:
    """An id that a caller brought is known on every connection."""
    script = [read(), send(ok(b"one")), read(), respond_to(0, b"not yours"), hold()]
    brought = "transactionId: 01234567-0123-4123-8123-0123456789AB"
    async with proxy_before(script) as (proxy, _):
        async with connect(proxy.app) as wire:
            assert (await wire.ask(request("GET", "/echo", brought))).body == b"one"
        async with connect(proxy.app) as wire:
            assert (await wire.ask()).error == "upstream-cross-talk"


async def test_response_to_a_request_that_timed_out() -> None:
    """Its connection is closed before the response comes."""
    script = [read(), respond_to(0, b"one"), read(), wait(), respond_to(1, b"late"), hold()]
    async with proxy_before(script) as (proxy, upstream), connect(proxy.app) as wire:
        assert (await wire.ask()).body == b"one"
        assert (await wire.ask()).error == "upstream-first-byte-timeout"
        upstream.may_continue.set()
        assert (await wire.ask()).body == b"yes"
        assert upstream.connections == 2


async def test_refused_token_of_another_request() -> None:
    """A 401 to another request is not a refusal of this one's token."""

    async def refuse(link: UpstreamConnection) -> None:
        found = re.search(rb"transactionId: (\S+)", link.upstream.requests[0])
        assert found
        link.writer.write(
            response_head(b"401 Unauthorized", b"transactionId: " + found[1], b"Content-Length: 0")
        )

    script = [read(), respond_to(0), read(), refuse, hold()]
    async with proxy_before(script) as (proxy, _), connect(proxy.app) as wire:
        assert (await wire.ask()).status == 200
        assert (await wire.ask()).error == "upstream-cross-talk"
        assert not proxy.records[1].is_token_refused


@pytest.mark.parametrize(
    "line",
    [
        b"X-A: b",
        b"transactionId:",
        b"transactionId: rrt-0a1b2c3d",
        b"transactionId: 01234567-0123-4123-8123-0123456789ac",
    ],
    ids=["none", "empty", "an id of a gateway's own", "a UUID of a gateway's own"],
)
async def test_response_with_an_unknown_id_is_passed_on(line: bytes) -> None:
    """A gateway that responds by itself may make an id; no other request has it."""
    script = [read(), send(ok(b"yours", line)), *respond_to_all()]
    async with proxy_before(script) as (proxy, upstream):
        async with connect(proxy.app) as wire:
            assert (await wire.ask()).body == b"yours"
            assert (await wire.ask()).body == b"yes"
        assert upstream.connections == 1


async def test_space_before_a_colon_is_removed() -> None:
    """RFC 9112 section 5.1; the header counts for the framing."""
    head = b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length \t: 5\r\nX-C: d : e\r\n\r\n"
    async with proxy_before([read(), send(head[:20], head[20:], b"hello"), *respond_to_all()]) as (
        proxy,
        upstream,
    ):
        async with connect(proxy.app) as wire:
            got = await wire.ask()
            assert (got.body, got.header("X-A"), got.header("X-C")) == (b"hello", "b", "d : e")
            assert (await wire.ask()).body == b"yes"
        assert upstream.connections == 1
