"""Links in JSON answers, told as ours: over raw sockets, before a sandbox and a scripted bank."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.runtime.app import App
from proxy.sandbox import Sandbox, Settings
from tests.support.raw_client import RawResponse, ask, connect, request
from tests.support.running import running
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    UpstreamConnection,
    forever,
    ok,
    read,
    response_head,
    send,
)

JSON = b"Content-Type: application/json"
PAGES = "/v1/transactions?accountId=880017-1&limit=10"


def at(app: App, method: str, target: str, *headers: str) -> bytes:
    """Return a request that calls the proxy by its own address."""
    return request(method, target, *headers, host=str(app.data_address))


@asynccontextmanager
async def scripted(
    *steps: ScriptStep, **overrides: Any
) -> AsyncIterator[tuple[App, ScriptedUpstream]]:
    """Run a proxy that rewrites links before a bank whose every connection follows the script."""
    settings = {"bearer_token": "scripted", "rewrite_links": "true", **overrides}
    async with ScriptedUpstream(steps) as upstream, running(upstream.url, **settings) as app:
        yield app, upstream


def telling(*blocks: Callable[[bytes], bytes]) -> ScriptStep:
    """Send blocks that are made of the bank's own URL, a moment apart."""

    async def step(link: UpstreamConnection) -> None:
        await send(*[block(link.upstream.url.encode()) for block in blocks], every=0.05)(link)

    return step


def linked(url: bytes) -> bytes:
    """Return a JSON body with one link to the bank."""
    return b'{"href":"%b/v1/x"}' % url


# With the sandbox bank.


async def test_pages_are_followed_to_the_end() -> None:
    """An application that follows ``next`` reads every page through the proxy."""
    async with (
        Sandbox(Settings(base_path="/digitalbanking")) as bank,
        running(bank, rewrite_links="true") as app,
    ):
        target, pages = PAGES, 0
        while target:
            got = (await ask(app, at(app, "GET", target))).json()
            pages += 1
            links = {link["rel"]: link["href"] for link in got["links"]}
            ours = f"http://{app.data_address}/v1/transactions?"
            assert all(link.startswith(ours) for link in links.values())
            target = links.get("next", "").removeprefix(f"http://{app.data_address}")
        assert (pages, len(bank.bank.arrivals)) == (4, 4)
        based = (await ask(app, at(app, "GET", "/digitalbanking" + PAGES))).json()
        assert based["links"][0]["href"].startswith(f"http://{app.data_address}/digitalbanking/v1/")


async def test_names_of_the_proxy() -> None:
    """A public URL for its host; the URL's own origin in absolute form; a path for any other."""
    async with (
        Sandbox() as bank,
        running(bank, rewrite_links="true", public_url="https://bank.desk.test") as app,
    ):
        for target, host, ours in (
            (PAGES, "bank.desk.test", "https://bank.desk.test/v1/"),
            (PAGES, "elsewhere.test", "/v1/"),
            (bank.url + PAGES, "x", bank.url + "/v1/"),
        ):
            got = (await ask(app, request("GET", target, host=host))).json()
            assert got["links"][0]["href"].startswith(ours)


async def test_unless_asked_for_bodies_pass_byte_for_byte() -> None:
    """By default nothing is read, and the caller's wish for a coding reaches the bank."""
    async with Sandbox() as bank, running(bank) as app:
        got = await ask(app, at(app, "GET", PAGES, "Accept-Encoding: gzip"))
        assert got.json()["links"][0]["href"].startswith(bank.url)
        assert got.header("Content-Length") == str(len(got.body))
        assert bank.bank.arrivals[-1].header("Accept-Encoding") == "gzip"


# What is asked of the bank, and what is said to the caller.


async def test_request_asks_for_what_can_be_read() -> None:
    """No coding and no part of a body; the rest of what the caller says goes on."""
    async with scripted(forever(read(), send(ok(b"{}", JSON)))) as (app, upstream):
        data = at(app, "GET", "/x", "Accept-Encoding: gzip", "Range: bytes=2-", "Accept: a/b")
        assert (await ask(app, data)).body == b"{}"
        (asked,) = upstream.requests
        assert asked.lower().count(b"accept-encoding: ") == 1
        assert b"Accept-Encoding: identity\r\n" in asked
        assert b"Accept: a/b\r\n" in asked
        assert b"range" not in asked.lower()


def in_chunks(url: bytes) -> bytes:
    """Return an answer whose link is cut in the middle."""
    data = linked(url)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:15], data[15:]))
    return response_head(b"200 OK", b"Transfer-Encoding: chunked", JSON) + chunks + b"0\r\n\r\n"


def beginning(url: bytes) -> bytes:
    """Return an answer up to the middle of its link."""
    data = linked(url)
    return response_head(b"200 OK", b"Content-Length: %d" % len(data), JSON) + data[:15]


FRAMINGS: dict[str, list[Callable[[bytes], bytes]]] = {
    "sized": [lambda url: ok(linked(url), JSON)],
    "chunked": [in_chunks],
    "later": [beginning, lambda url: linked(url)[15:]],
    "until close": [lambda url: response_head(b"200 OK", JSON) + linked(url)],
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_length_is_told_anew(framing: str, version: bytes) -> None:
    """Whatever framing the body came in: what goes out ends where it should."""
    async with scripted(read(), telling(*FRAMINGS[framing])) as (app, _):
        got = await ask(app, at(app, "GET", "/x").replace(b"HTTP/1.1", version))
        assert got.json() == {"href": f"http://{app.data_address}/v1/x"}
        if framing == "sized":
            assert got.header("Content-Length") == str(len(got.body))
        if framing == "later":
            assert got.header("Content-Length") is None


async def test_digest_goes_and_etag_stays() -> None:
    """The one is of other bytes; the other names the resource, and an If-Match will need it."""
    headers = (JSON, b'ETag: "7"', b"Content-MD5: x", b"Repr-Digest: y")
    async with scripted(read(), send(ok(b"{}", *headers))) as (app, _):
        got = await ask(app, at(app, "GET", "/x"))
        assert (got.header("ETag"), got.header("Content-MD5")) == ('"7"', None)
        assert got.header("Repr-Digest") is None


async def test_connection_goes_on_behind_it() -> None:
    """A rewritten answer is followed by others."""
    async with (
        Sandbox() as bank,
        running(bank, rewrite_links="true") as app,
        connect(app) as wire,
    ):
        for _ in range(3):
            got = await wire.ask(at(app, "GET", PAGES))
            assert got.json()["links"][0]["href"].startswith(f"http://{app.data_address}")
        assert app.pool.opened_count == 1


@pytest.mark.parametrize(
    ("method", "data", "length"),
    [
        ("HEAD", response_head(b"200 OK", JSON, b"Content-Length: 77"), None),
        ("HEAD", response_head(b"200 OK", b"Content-Type: image/png", b"Content-Length: 77"), "77"),
        ("GET", response_head(b"304 Not Modified", b"Content-Length: 77", b'ETag: "x"'), None),
        ("GET", response_head(b"204 No Content", JSON), None),
        ("GET", ok(b"", JSON), "0"),
    ],
)
async def test_answer_without_a_body(method: str, data: bytes, length: str | None) -> None:
    """Says no length that another answer's body would not have."""
    async with scripted(forever(read(), send(data))) as (app, _), connect(app) as wire:
        for _ in range(2):
            await wire.send(at(app, method, "/x"))
            got = await wire.read_response(bodiless=True)
            assert got.header("Content-Length") == length
            assert got.header("Connection") is None


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Type: text/html"],
        [JSON, b"Content-Encoding: gzip"],
        [JSON, b"Content-Encoding: br"],
        [],
    ],
)
async def test_what_cannot_be_read_passes_byte_for_byte(headers: list[bytes]) -> None:
    """Digest, length and all."""
    data = b'{"href":"http://127.0.0.1:%d/x"}'
    async with scripted(read(), send(ok(data, *headers, b"Digest: x"))) as (app, _):
        got = await ask(app, at(app, "GET", "/x"))
        assert (got.body, got.header("Digest")) == (data, "x")
        assert got.header("Content-Length") == str(len(data))


async def test_part_of_a_body_passes_byte_for_byte() -> None:
    """A bank that answers in part though nobody asked: the offsets would no longer fit."""
    head = response_head(
        b"206 Partial Content", JSON, b"Content-Length: 5", b"Content-Range: bytes 0-4/9"
    )
    async with scripted(read(), send(head + b'["htt')) as (app, _):
        got = await ask(app, at(app, "GET", "/x"))
        assert (got.status, got.body, got.header("Content-Length")) == (206, b'["htt', "5")


async def test_body_that_breaks_off() -> None:
    """Is a cut connection, whatever was kept back of it."""
    head = response_head(b"200 OK", JSON, b"Content-Length: 500")
    async with (
        scripted(read(), send(head + b'["x', b'","http', every=0.05)) as (app, _),
        connect(app) as wire,
    ):
        await wire.send(at(app, "GET", "/x"))
        assert await wire.ends_with_reset()


async def test_cookies_pass_as_they_are() -> None:
    """A cookie of the bank's is not made one for this machine, whose ports share their cookies."""
    cookie = b"Set-Cookie: a=b; Domain=bank.test; Path=/digitalbanking; Secure"
    async with scripted(read(), send(ok(b"{}", JSON, cookie))) as (app, _):
        got: RawResponse = await ask(app, at(app, "GET", "/x"))
        assert got.all("Set-Cookie") == [cookie.decode().partition(": ")[2]]


async def test_headers_with_urls() -> None:
    """Location and its like, however often they stand there; with or without rewritten bodies."""
    headers = (b"Link: <%b/v1/a>; rel=next", b"link: <%b/v1/b>", b"Content-Location: %b/v1/c")

    def told(url: bytes) -> bytes:
        return ok(b"", *[header.replace(b"%b", url) for header in headers])

    async with scripted(read(), telling(told), rewrite_links="false") as (app, _):
        got = await ask(app, at(app, "GET", "/x"))
        us = f"http://{app.data_address}"
        assert got.all("Link") == [f"<{us}/v1/a>; rel=next", f"<{us}/v1/b>"]
        assert got.header("Content-Location") == f"{us}/v1/c"
