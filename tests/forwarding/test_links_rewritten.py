"""Link rewriting end to end, over raw sockets, with a sandbox and a scripted bank."""

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


def request_to(app: App, method: str, target: str, *headers: str) -> bytes:
    """Return a request with the proxy's own address as Host."""
    return request(method, target, *headers, host=str(app.data_address))


@asynccontextmanager
async def scripted(
    *steps: ScriptStep, **overrides: Any
) -> AsyncIterator[tuple[App, ScriptedUpstream]]:
    """Run a proxy with link rewriting in front of a scripted bank."""
    settings = {"bearer_token": "scripted", "rewrite_links": "true", **overrides}
    async with ScriptedUpstream(steps) as upstream, running(upstream.url, **settings) as app:
        yield app, upstream


def send_with_url(*blocks: Callable[[bytes], bytes]) -> ScriptStep:
    """Send blocks that are made from the bank's own URL, with pauses."""

    async def step(link: UpstreamConnection) -> None:
        await send(*[block(link.upstream.url.encode()) for block in blocks], every=0.05)(link)

    return step


def link_body(url: bytes) -> bytes:
    """Return a JSON body with one link to the bank."""
    return b'{"href":"%b/v1/x"}' % url


# With the sandbox bank.


async def test_pages_can_be_followed_to_the_end() -> None:
    """An application that follows ``next`` reads every page through the proxy."""
    async with (
        Sandbox(Settings(base_path="/digitalbanking")) as bank,
        running(bank, rewrite_links="true") as app,
    ):
        target, pages = PAGES, 0
        while target:
            got = (await ask(app, request_to(app, "GET", target))).json()
            pages += 1
            links = {link["rel"]: link["href"] for link in got["links"]}
            ours = f"http://{app.data_address}/v1/transactions?"
            assert all(link.startswith(ours) for link in links.values())
            target = links.get("next", "").removeprefix(f"http://{app.data_address}")
        assert (pages, len(bank.bank.arrivals)) == (4, 4)
        based = (await ask(app, request_to(app, "GET", "/digitalbanking" + PAGES))).json()
        assert based["links"][0]["href"].startswith(f"http://{app.data_address}/digitalbanking/v1/")


async def test_links_use_the_name_that_the_caller_used() -> None:
    """The public URL by its host; the URL's origin in absolute form; else a path."""
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


async def test_bodies_are_unchanged_by_default() -> None:
    """Nothing is parsed, and Accept-Encoding reaches the bank."""
    async with Sandbox() as bank, running(bank) as app:
        got = await ask(app, request_to(app, "GET", PAGES, "Accept-Encoding: gzip"))
        assert got.json()["links"][0]["href"].startswith(bank.url)
        assert got.header("Content-Length") == str(len(got.body))
        assert bank.bank.arrivals[-1].header("Accept-Encoding") == "gzip"


# Requests and framing.


async def test_request_asks_for_plain_complete_bodies() -> None:
    """Accept-Encoding and Range are removed; other headers pass."""
    async with scripted(forever(read(), send(ok(b"{}", JSON)))) as (app, upstream):
        data = request_to(
            app, "GET", "/x", "Accept-Encoding: gzip", "Range: bytes=2-", "Accept: a/b"
        )
        assert (await ask(app, data)).body == b"{}"
        (asked,) = upstream.requests
        assert asked.lower().count(b"accept-encoding: ") == 1
        assert b"Accept-Encoding: identity\r\n" in asked
        assert b"Accept: a/b\r\n" in asked
        assert b"range" not in asked.lower()


def split_link(url: bytes) -> bytes:
    """Return a response whose link is split between two chunks."""
    data = link_body(url)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:15], data[15:]))
    return response_head(b"200 OK", b"Transfer-Encoding: chunked", JSON) + chunks + b"0\r\n\r\n"


def partial_link(url: bytes) -> bytes:
    """Return a response that ends within a link."""
    data = link_body(url)
    return response_head(b"200 OK", b"Content-Length: %d" % len(data), JSON) + data[:15]


FRAMINGS: dict[str, list[Callable[[bytes], bytes]]] = {
    "sized": [lambda url: ok(link_body(url), JSON)],
    "chunked": [split_link],
    "later": [partial_link, lambda url: link_body(url)[15:]],
    "until close": [lambda url: response_head(b"200 OK", JSON) + link_body(url)],
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_length_of_rewritten_body_is_correct(framing: str, version: bytes) -> None:
    """Every framing is replaced so that the response ends where it should."""
    async with scripted(read(), send_with_url(*FRAMINGS[framing])) as (app, _):
        got = await ask(app, request_to(app, "GET", "/x").replace(b"HTTP/1.1", version))
        assert got.json() == {"href": f"http://{app.data_address}/v1/x"}
        if framing == "sized":
            assert got.header("Content-Length") == str(len(got.body))
        if framing == "later":
            assert got.header("Content-Length") is None


async def test_digest_is_dropped_and_etag_kept() -> None:
    """The digest is of other bytes; an If-Match needs the ETag."""
    headers = (JSON, b'ETag: "7"', b"Content-MD5: x", b"Repr-Digest: y")
    async with scripted(read(), send(ok(b"{}", *headers))) as (app, _):
        got = await ask(app, request_to(app, "GET", "/x"))
        assert (got.header("ETag"), got.header("Content-MD5")) == ('"7"', None)
        assert got.header("Repr-Digest") is None


async def test_connection_is_reused_after_a_rewritten_response() -> None:
    """A further request on the connection gets its response."""
    async with (
        Sandbox() as bank,
        running(bank, rewrite_links="true") as app,
        connect(app) as wire,
    ):
        for _ in range(3):
            got = await wire.ask(request_to(app, "GET", PAGES))
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
async def test_bodiless_response_has_no_wrong_length(
    method: str, data: bytes, length: str | None
) -> None:
    """HEAD and 304 responses do not announce the length of the original body."""
    async with scripted(forever(read(), send(data))) as (app, _), connect(app) as wire:
        for _ in range(2):
            await wire.send(request_to(app, method, "/x"))
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
async def test_unreadable_body_is_unchanged(headers: list[bytes]) -> None:
    """Coded, partial or other bodies keep digest and length."""
    data = b'{"href":"http://127.0.0.1:%d/x"}'
    async with scripted(read(), send(ok(data, *headers, b"Digest: x"))) as (app, _):
        got = await ask(app, request_to(app, "GET", "/x"))
        assert (got.body, got.header("Digest")) == (data, "x")
        assert got.header("Content-Length") == str(len(data))


async def test_partial_response_is_unchanged() -> None:
    """The offsets of a 206 would no longer be right."""
    head = response_head(
        b"206 Partial Content", JSON, b"Content-Length: 5", b"Content-Range: bytes 0-4/9"
    )
    async with scripted(read(), send(head + b'["htt')) as (app, _):
        got = await ask(app, request_to(app, "GET", "/x"))
        assert (got.status, got.body, got.header("Content-Length")) == (206, b'["htt', "5")


async def test_truncated_body_resets_the_connection() -> None:
    """The caller must not take it for complete."""
    head = response_head(b"200 OK", JSON, b"Content-Length: 500")
    async with (
        scripted(read(), send(head + b'["x', b'","http', every=0.05)) as (app, _),
        connect(app) as wire,
    ):
        await wire.send(request_to(app, "GET", "/x"))
        assert await wire.ends_with_reset()


async def test_cookies_are_unchanged() -> None:
    """A cookie for the bank must not become one for this machine, because ports share cookies."""
    cookie = b"Set-Cookie: a=b; Domain=bank.test; Path=/digitalbanking; Secure"
    async with scripted(read(), send(ok(b"{}", JSON, cookie))) as (app, _):
        got: RawResponse = await ask(app, request_to(app, "GET", "/x"))
        assert got.all("Set-Cookie") == [cookie.decode().partition(": ")[2]]


async def test_url_headers_are_always_rewritten() -> None:
    """Location and similar fields are rewritten, however often they occur."""
    headers = (b"Link: <%b/v1/a>; rel=next", b"link: <%b/v1/b>", b"Content-Location: %b/v1/c")

    def rewritten_url(url: bytes) -> bytes:
        return ok(b"", *[header.replace(b"%b", url) for header in headers])

    async with scripted(read(), send_with_url(rewritten_url), rewrite_links="false") as (app, _):
        got = await ask(app, request_to(app, "GET", "/x"))
        us = f"http://{app.data_address}"
        assert got.all("Link") == [f"<{us}/v1/a>; rel=next", f"<{us}/v1/b>"]
        assert got.header("Content-Location") == f"{us}/v1/c"
