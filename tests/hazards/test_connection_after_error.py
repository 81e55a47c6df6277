"""The caller's connection after each kind of error.

If the end of the refused request is unknown, the bytes behind it must not be read as a request (RFC
9112 section 11.2); otherwise the next request is served.
"""

from types import SimpleNamespace
from typing import cast

import pytest

from proxy.errors import (
    CallerError,
    ErrorKind,
    ProxyError,
    Source,
    TokenError,
    TokenFailure,
    UpstreamError,
    UpstreamFailure,
    kinds,
)
from proxy.forwarding.authentication import CallerAuthentication
from proxy.http1.fields import RawHeaders
from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test
from tests.support.raw_client import GET, RawResponse, connect, request
from tests.support.running import until

RESPONSES = [kind for kind in kinds.KINDS if kind.status]


def error_of(kind: ErrorKind) -> ProxyError:
    """Return an error of the class that raises this kind."""
    if isinstance(kind, TokenFailure):
        return TokenError(kind)
    if isinstance(kind, UpstreamFailure):
        return UpstreamError(kind)
    return (CallerError if kind.source is Source.CALLER else ProxyError)(kind)


async def check(proxy: ProxyUnderTest, kind: ErrorKind, *blocks: bytes) -> RawResponse:
    """Send a refused request with a good one behind it; check whether the good one is served."""
    before = [*proxy.bank.arrivals]
    async with connect(proxy.app) as wire:
        await wire.send(*blocks[:-1], blocks[-1] + GET)
        response = await wire.read_response()
        assert (response.status, response.error) == (kind.status, kind.name)
        assert response.header("x-proxy-error-source") == kind.source
        if kind.closes:
            assert response.header("Connection") == "close"
            assert await wire.read_to_end() == b""
        else:
            assert response.header("Connection") is None
            assert (await wire.read_response()).status == 200
    whole = [arrival for arrival in proxy.bank.arrivals if arrival.complete]
    assert len(whole) == len(before) + (not kind.closes)
    return response


@pytest.mark.parametrize("kind", RESPONSES, ids=lambda kind: kind.name)
async def test_error_of_a_complete_request(kind: ErrorKind) -> None:
    """The kind alone decides whether the connection persists."""

    def fail_marked(headers: RawHeaders, *_: object, **__: object) -> str:
        if any(name == b"X-Broken" for name, _ in headers):
            raise error_of(kind)
        return ""

    async with proxy_under_test() as proxy:
        failing = SimpleNamespace(check=fail_marked)
        proxy.app.forwarder._authentication = cast(CallerAuthentication, failing)
        await check(proxy, kind, request("GET", "/echo", "X-Broken: yes"))


def post(*lines: str, body: bytes = b"", start: str = "POST /echo HTTP/1.1") -> bytes:
    """Return a POST with these header lines."""
    return "\r\n".join([start, "Host: localhost", *lines, "", ""]).encode("latin-1") + body


CHUNKED = "Transfer-Encoding: chunked"
BAD_CHUNK = b"zz\r\nx\r\n0\r\n\r\n"
GOOD_CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"

PROVOKED: list[tuple[ErrorKind, bytes]] = [
    (kinds.CROSS_SITE, post("Sec-Fetch-Site: cross-site", "Content-Length: 3", body=b"abc")),
    (kinds.WEBSOCKET, post("Connection: Upgrade", "Upgrade: websocket")),
    (kinds.TARGET_CHARACTER, request("GET", "/a^b")),
    (kinds.INSTITUTION_CONFLICT, post("institutionId: 00016", "institutionId: 00017")),
    (kinds.INSTITUTION_MALFORMED, post("institutionId: x")),
    (kinds.INSTITUTION_NOT_ALLOWED, post("institutionId: 00099", CHUNKED, body=GOOD_CHUNKS)),
    (kinds.PATH_POLICY, request("GET", "/denied")),
    (kinds.RESERVED, post(start="POST /oauth2/v1/token HTTP/1.1")),
    (kinds.METHOD, request("TRACE", "/echo")),
    (kinds.CONNECT, request("CONNECT", "bank.test:443")),
    (kinds.ORIGIN, request("GET", "http://elsewhere.test/")),
    (kinds.TARGET, request("OPTIONS", "*")),
    (kinds.BAD_HOST, post("Host: other")),
    (kinds.BAD_HEADER, post("X-Name: J\xfcrgen")),
    (kinds.BAD_FRAMING, post(CHUNKED, start="POST /echo HTTP/1.0", body=GOOD_CHUNKS)),
    (kinds.TRANSFER_ENCODING, post("Transfer-Encoding: gzip, chunked", body=GOOD_CHUNKS)),
    (kinds.VERSION, post(start="POST /echo HTTP/3.0")),
    (kinds.UNREADABLE, b"GET\r\n\r\n"),
    (kinds.TLS_ON_HTTP, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    (kinds.TOO_LARGE, post("X-Long: " + "x" * 9000)),
    (kinds.TARGET_TOO_LONG, request("GET", "/" + "x" * 9000)),
    (kinds.BODY_TOO_LARGE, post("Content-Length: 2000", body=b"x" * 2000)),
    (kinds.BAD_BODY, post(CHUNKED, body=BAD_CHUNK)),
]


@pytest.mark.parametrize(("kind", "data"), PROVOKED, ids=lambda value: getattr(value, "name", ""))
async def test_refused_request(kind: ErrorKind, data: bytes) -> None:
    """The good request follows in the same segment."""
    async with proxy_under_test(limits={"max_body": "1000"}, access={"deny": ["/denied"]}) as proxy:
        await check(proxy, kind, data)


async def test_bad_body_after_its_head() -> None:
    """A malformed chunk ends a request that is already forwarded."""
    async with proxy_under_test() as proxy, connect(proxy.app) as wire:
        await wire.send(post(CHUNKED, body=b"3\r\nabc\r\n"))
        await until(lambda: proxy.app.forwarder.in_flight == 1)
        await wire.send(BAD_CHUNK + GET)
        response = await wire.read_response()
        assert (response.error, response.header("Connection")) == ("bad-body", "close")
        assert await wire.read_to_end() == b""


SLOW = [
    (kinds.SLOW_HEAD, {"header_timeout": "0.2"}, b"GET /echo HTTP/1.1\r\nHost: loc"),
    (kinds.SLOW_BODY, {"idle_timeout": "0.2"}, post("Content-Length: 3", body=b"a")),
]


@pytest.mark.parametrize(("kind", "limits", "data"), SLOW, ids=["head", "body"])
async def test_slow_request(kind: ErrorKind, limits: dict[str, str], data: bytes) -> None:
    """Bytes after the time-out belong to the request that timed out."""
    async with proxy_under_test(limits=limits) as proxy, connect(proxy.app) as wire:
        await wire.send(data)
        response = await wire.read_response()
        assert (response.status, response.error) == (kind.status, kind.name)
        assert response.header("Connection") == "close"
        await wire.send(GET)
        assert await wire.read_to_end() == b""


def test_every_caller_error_is_tested() -> None:
    """Errors of listener settings, and of many requests, have tests elsewhere."""
    elsewhere = {
        kinds.CALLER_SECRET,
        kinds.PROXY_AUTHENTICATION,
        kinds.CALLER_CERTIFICATE,
        kinds.HTTP_ON_TLS,
        kinds.HOST_NOT_ALLOWED,
    }
    callers = {kind for kind in RESPONSES if kind.source is Source.CALLER}
    provoked = {kind for kind, *_ in (*PROVOKED, *SLOW)}
    assert provoked | elsewhere == callers
