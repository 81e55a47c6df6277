"""Invalid requests over a raw socket: hazards of bytes.

After each test ``proxy_under_test.py`` checks that the next request works and that the bank has got
credentials from the proxy only.
"""

import asyncio
import gzip

import pytest

from tests.hazards.proxy_under_test import BEARER, MARK, ProxyUnderTest, proxy_under_test
from tests.support.raw_client import GET, RawResponse, ask, connect, request
from tests.support.running import DEADLINE, until


async def assert_refused(proxy: ProxyUnderTest, data: bytes, *statuses: int) -> RawResponse:
    """Send a request that must be refused: an error response, then the connection closes."""
    async with connect(proxy.app) as wire:
        await wire.send(data)
        response = await wire.read_response()
        assert response.status in statuses
        assert response.header("x-proxy-error-source") == "caller"
        assert response.error
        assert response.header("Connection") == "close"
        assert await wire.read_to_end() == b""
    assert not proxy.bank.arrivals or proxy.bank.arrivals[-1].complete is False
    assert MARK not in str(response.headers) + response.body.decode()
    assert MARK not in proxy.log
    return response


def post(*headers: str, body: bytes = b"") -> bytes:
    """Return a POST with exactly these headers."""
    lines = ["POST /echo HTTP/1.1", "Host: localhost", f"X-Mark: {MARK}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# Ambiguous lengths.

CHUNKS = b"1\r\nx\r\n0\r\n\r\n"
LENGTHS = {
    "length and coding": post("Content-Length: 3", "Transfer-Encoding: chunked", body=CHUNKS),
    "coding and length": post("Transfer-Encoding: chunked", "Content-Length: 3", body=CHUNKS),
    "zero length and coding": post("Content-Length: 0", "Transfer-Encoding: chunked", body=CHUNKS),
    "twice, equal": post("Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "twice, different": post("Content-Length: 3", "Content-Length: 5", body=b"abcde"),
    "list": post("Content-Length: 3, 3", body=b"abc"),
    "plus": post("Content-Length: +3", body=b"abc"),
    "minus": post("Content-Length: -3", body=b"abc"),
    "hex": post("Content-Length: 0x3", body=b"abc"),
    "underscore": post("Content-Length: 1_0", body=b"abcdefghij"),
    "empty": post("Content-Length:"),
    "space": post("Content-Length: 3 3", body=b"abc"),
    "10 to the 23rd": post("Content-Length: 1" + "0" * 23),
    "unicode digit": post("Content-Length: \xd9\xa3", body=b"abc"),
}


@pytest.mark.parametrize("data", LENGTHS.values(), ids=LENGTHS)
async def test_ambiguous_length_is_refused(proxy: ProxyUnderTest, data: bytes) -> None:
    """Servers could see different ends of the body."""
    await assert_refused(proxy, data, 400)


CODINGS = {
    "twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=CHUNKS),
    "identity and chunked": post(
        "Transfer-Encoding: identity", "Transfer-Encoding: chunked", body=CHUNKS
    ),
    "chunked and identity": post(
        "Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=CHUNKS
    ),
    "xchunked": post("Transfer-Encoding: xchunked", body=CHUNKS),
    "chunked, identity": post("Transfer-Encoding: chunked, identity", body=CHUNKS),
    "comma chunked": post("Transfer-Encoding: ,chunked", body=CHUNKS),
    "gzip, chunked": post("Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "gzip": post("Transfer-Encoding: gzip", body=CHUNKS),
    "control byte": post("Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "control byte behind": post("Transfer-Encoding: chunked\x0b", body=CHUNKS),
    "quoted": post('Transfer-Encoding: "chunked"', body=CHUNKS),
    "empty": post("Transfer-Encoding:", body=CHUNKS),
    "on HTTP/1.0": post("Transfer-Encoding: chunked", body=CHUNKS).replace(b"1.1", b"1.0"),
}


@pytest.mark.parametrize("data", CODINGS.values(), ids=CODINGS)
async def test_other_transfer_coding_is_refused(proxy: ProxyUnderTest, data: bytes) -> None:
    """Chunked alone and once is supported (RFC 9112 section 6.1)."""
    await assert_refused(proxy, data, 400, 501)


BAD_CHUNKS = {
    "0x": b"0x1\r\nx\r\n0\r\n\r\n",
    "plus": b"+1\r\nx\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
    "leading space": b" 1\r\nx\r\n0\r\n\r\n",
    "trailing space": b"1 \r\nx\r\n0\r\n\r\n",
    "empty": b"\r\nx\r\n0\r\n\r\n",
    "17 digits": b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "bare LF": b"1\nx\n0\n\n",
    "bare CR": b"1\rx\r0\r\r",
    "LF in an extension": b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "CR in an extension": b"1;a\rb\r\nx\r\n0\r\n\r\n",
    "missing CRLF": b"1\r\nx0\r\n\r\n",
    "longer than its size": b"1\r\nxyz\r\n0\r\n\r\n",
    "no size": b"xyz\r\n\r\n",
    "bad trailer": b"1\r\nx\r\n0\r\nno colon\r\n\r\n",
    "length as trailer": b"1\r\nx\r\n0\r\nContent-Length: 7\r\n\r\n",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
async def test_bad_chunk_is_refused(proxy: ProxyUnderTest, body: bytes, *, together: bool) -> None:
    """Whether it arrives with the head or later."""
    head = post("Transfer-Encoding: chunked")
    if together:
        await assert_refused(proxy, head + body, 400)
        return
    async with connect(proxy.app) as wire:
        await wire.send(head)
        await until(lambda: proxy.app.forwarder.in_flight == 1)
        await wire.send(body)
        response = await wire.read_response()
        assert (response.status, response.header("Connection")) == (400, "close")
        assert response.header("x-proxy-error-source") == "caller"
        assert await wire.read_to_end() == b""
    assert all(not arrival.complete for arrival in proxy.bank.arrivals)


TRAILERS = [
    f"Authorization: {BEARER}",
    "institutionId: 00017",
    "transactionId: 5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01",
    f"X-Last: {MARK}",
]


@pytest.mark.parametrize("trailer", TRAILERS)
async def test_trailer_does_not_become_a_header(proxy: ProxyUnderTest, trailer: str) -> None:
    """Not of its own request, nor of the next on the connection."""
    body = CHUNKS[:-2] + trailer.encode() + b"\r\n\r\n"
    head = request("POST", "/echo", "Transfer-Encoding: chunked", f"Trailer: {trailer}")
    async with connect(proxy.app) as wire:
        assert (await wire.ask(head + body)).status == 200
        assert (await wire.ask()).status == 200
        # Again, all in one segment.
        await wire.send(head + body + GET)
        assert (await wire.read_response()).status == 200
        assert (await wire.read_response()).status == 200
    assert len(proxy.bank.arrivals) == 4
    for arrival in proxy.bank.arrivals:
        assert arrival.header("institutionId") == "00016"
        assert arrival.all("transactionId")[0] not in trailer
        assert arrival.header("X-Last") is None


# Invalid headers.

HEADERS = {
    "bare CR": b"X-A: a\rb",
    "bare LF": b"X-A: a\nX-B: b",
    "NUL": b"X-A: a\0b",
    "control byte": b"X-A: a\x01b",
    "DEL": b"X-A: a\x7fb",
    "0x85": b"X-A: a\x85b",
    "0xff": b"X-A: a\xffb",
    "UTF-8": "X-A: ä".encode(),
    "space before the colon": b"X-A : b",
    "tab before the colon": b"X-A\t: b",
    "no colon": b"X-A",
    "empty name": b": b",
    "fold": b"X-A: b\r\n c",
    "fold with a tab": b"X-A: b\r\n\tc",
    "fold at the start": b" X-A: b",
    "space in the name": b"X A: b",
    "brackets in the name": b"X(A): b",
    "NUL in the name": b"X\0A: b",
    "0xff in the name": b"X\xff: b",
}


@pytest.mark.parametrize("line", HEADERS.values(), ids=HEADERS)
async def test_invalid_header_is_refused(proxy: ProxyUnderTest, line: bytes) -> None:
    """Its content is neither in the response nor in the log."""
    mark = MARK.encode()
    data = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Mark: " + mark + b"\r\n"
    await assert_refused(proxy, data + line + mark + b"\r\n\r\n", 400)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9216 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (request("GET", "/echo", "X-A: " + "a" * 9216), 431),
        (request("GET", "/echo", "X" * 9216 + ": a"), 431),
        (request("GET", "/echo", *[f"X-{n}: a" for n in range(200)]), 431),
        (request("GET", "/echo", *[f"X-{n}: {'a' * 8000}" for n in range(9)]), 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 400_000, 431),
        (b"GET /" + b"a" * 400_000, 431),
    ],
    ids=[
        *("line of 9 KiB", "line of 70 kB", "header of 9 KiB", "name of 9 KiB", "200 headers"),
        *("72 kB together", "header without end", "line without end"),
    ],
)
async def test_oversized_head_is_refused(proxy: ProxyUnderTest, data: bytes, status: int) -> None:
    """Complete or still arriving; the caller can read the response."""
    await assert_refused(proxy, data, status, 414, 431)


async def test_head_at_the_limit_is_accepted(proxy: ProxyUnderTest) -> None:
    """The limit itself is allowed."""
    headers = [f"X-{n}: {'a' * 600}" for n in range(95)]
    response = await ask(proxy.app, request("GET", "/echo/" + "a" * 5000, *headers))
    assert response.status == 200
    assert len(proxy.bank.arrivals[0].headers) >= 95


async def test_oversized_head_in_pieces_is_refused(proxy: ProxyUnderTest) -> None:
    """However it is split."""
    line = b"X-A: " + b"a" * 5000 + b"\r\n"
    async with connect(proxy.app) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n", *[line] * 30)
        response = await wire.read_response()
        assert (response.status, response.error) == (431, "too-large")
        assert await wire.read_to_end() == b""


HOSTS = {
    "none": b"GET /echo HTTP/1.1\r\n\r\n",
    "two on HTTP/1.0": b"GET /echo HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    "empty on HTTP/1.0": b"GET /echo HTTP/1.0\r\nHost:\r\n\r\n",
    "two": b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "empty": b"GET /echo HTTP/1.1\r\nHost:\r\n\r\n",
    "a@b": b"GET /echo HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a/b": b"GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a b": b"GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a:99999": b"GET /echo HTTP/1.1\r\nHost: a:99999\r\n\r\n",
    "a, b": b"GET /echo HTTP/1.1\r\nHost: a, b\r\n\r\n",
}


@pytest.mark.parametrize("data", HOSTS.values(), ids=HOSTS)
async def test_invalid_host_is_refused(proxy: ProxyUnderTest, data: bytes) -> None:
    """Exactly one valid Host is required (RFC 9112 section 3.2)."""
    async with connect(proxy.app) as wire:
        response = await wire.ask(data)
        assert (response.status, response.error) == (400, "bad-host")
    assert not proxy.bank.arrivals


@pytest.mark.parametrize("line", [b"", b"Connection: keep-alive\r\n", b"X-A: b\r\n"])
async def test_http_1_0_needs_no_host(proxy: ProxyUnderTest, line: bytes) -> None:
    """RFC 9112 section 3.2; the upstream gets the configured one."""
    response = await ask(proxy.app, b"GET /echo HTTP/1.0\r\n" + line + b"\r\n")
    assert response.status == 200
    assert proxy.bank.arrivals[-1].all("Host") == [proxy.bank.url.removeprefix("http://")]


async def test_upstream_gets_the_configured_host(proxy: ProxyUnderTest) -> None:
    """Whatever Host the caller sends."""
    for host in ("evil.test", "api.candescent.com", "127.0.0.1:1"):
        assert (await ask(proxy.app, request("GET", "/echo", host=host))).status == 200
        assert proxy.bank.arrivals[-1].all("Host") == [proxy.bank.url.removeprefix("http://")]


# The proxy's own headers, and hop-by-hop headers.

OWNED = [
    *("AUTHORIZATION", "authorization", "Authorization", "aUTHORIZATION"),
    *("Institution-Id", "institution_id", "INSTITUTION_ID", "transaction-id", "Transaction_Id"),
    *("di_fiid", "di-fiid", "DIFIID", "di-tid", "ditid"),
]


@pytest.mark.parametrize("name", OWNED)
async def test_proxy_header_is_replaced(proxy: ProxyUnderTest, name: str) -> None:
    """The proxy's header is sent once in place of every spelling of the caller."""
    for headers in (
        [f"{name}: {MARK}"],
        [f"{name}: {MARK}", f"{name}: {MARK}"],
        [f"{name}: {MARK}", f"{name.swapcase()}: {MARK}", f"{name}:"],
    ):
        assert (await ask(proxy.app, request("GET", "/echo", *headers))).status == 200
        (arrival,) = proxy.bank.arrivals
        assert arrival.all("institutionId") == ["00016"]
        assert len(arrival.all("transactionId")) == len(arrival.all("Authorization")) == 1
        bare = {key.lower().replace(b"-", b"").replace(b"_", b"") for key, _ in arrival.headers}
        assert not bare & {b"difiid", b"ditid"}
        assert sum(key.lower().startswith((b"auth", b"inst")) for key, _ in arrival.headers) == 2
        proxy.bank.arrivals.clear()


@pytest.mark.parametrize("name", ["Institutionid", "INSTITUTIONID", "institutionId"])
async def test_institution_that_is_not_configured_is_refused(
    proxy: ProxyUnderTest, name: str
) -> None:
    """A caller may name configured institutions only."""
    response = await ask(proxy.app, request("GET", "/echo", f"{name}: {MARK}"))
    assert (response.status, response.error) == (400, "institution-malformed")
    response = await ask(proxy.app, request("GET", "/echo", f"{name}: 00017"))
    assert (response.status, response.error) == (403, "institution-not-allowed")
    response = await ask(proxy.app, request("GET", "/echo", f"{name}: 00016", f"{name}: 00017"))
    assert (response.status, response.error) == (400, "institution-conflict")
    assert not proxy.bank.arrivals


@pytest.mark.parametrize(
    "value",
    [
        *("close, Authorization", "institutionId", "keep-alive, transactionId, AUTHORIZATION"),
        *("correlationId", "host, content-length"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["alone", "behind an empty one"])
async def test_connection_does_not_remove_proxy_headers(
    proxy: ProxyUnderTest, value: str, *, first: bool
) -> None:
    """Connection removes the caller's headers only."""
    headers = [f"Connection: {value}", "correlationId: theirs", f"Authorization: {BEARER}"]
    response = await ask(
        proxy.app, request("GET", "/echo", *([] if first else ["Connection:"]), *headers)
    )
    assert response.status == 200
    (arrival,) = proxy.bank.arrivals
    for name in ("Authorization", "institutionId", "transactionId", "correlationId", "Host"):
        assert len(arrival.all(name)) == 1
    assert arrival.all("Connection") == []


HOP_BY_HOP = [
    *("TE: trailers", "Keep-Alive: timeout=5", f"Proxy-Authorization: {BEARER}"),
    *(f"Proxy-Authenticate: {MARK}", "Proxy-Connection: keep-alive", "Trailer: X"),
    *("Connection: X-Gone\r\nX-Gone: 1", f"Connection: x-gone, close\r\nX-GONE: {MARK}"),
]


@pytest.mark.parametrize("line", HOP_BY_HOP)
async def test_hop_by_hop_header_is_removed(proxy: ProxyUnderTest, line: str) -> None:
    """It concerns the caller's connection only."""
    assert (await ask(proxy.app, request("GET", "/echo", line))).status == 200
    names = {name.lower() for name, _ in proxy.bank.arrivals[0].headers}
    assert not names & {b"te", b"keep-alive", b"trailer", b"x-gone", b"connection"}
    assert not {name for name in names if name.startswith(b"proxy-")}


H2C = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"]
OTHER_UPGRADE = ["Connection: Upgrade", "Upgrade: tls/1.2"]
EVIL = b"GET /evil HTTP/1.1\r\nHost: localhost\r\n\r\n"
WEBSOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]


@pytest.mark.parametrize("body", [b"", EVIL], ids=["bare", "with-body"])
async def test_websocket_is_refused(proxy: ProxyUnderTest, body: bytes) -> None:
    """The bytes behind the handshake are never a request."""
    handshake = request("GET", "/echo", *WEBSOCKET, f"Content-Length: {len(body)}")
    async with connect(proxy.app) as wire:
        await wire.send(handshake + body)
        response = await wire.read_response()
        assert response.status == 501
        assert response.json()["type"].endswith(":websocket")
    assert not proxy.bank.arrivals


@pytest.mark.parametrize("upgrade", [H2C, OTHER_UPGRADE], ids=["h2c", "other"])
async def test_upgrade_is_ignored(proxy: ProxyUnderTest, upgrade: list[str]) -> None:
    """The request is answered and the connection persists, as Java's client needs it."""
    get = request("GET", "/echo", *upgrade)
    async with connect(proxy.app) as wire:
        for _ in range(3):
            assert (await wire.ask(get)).status == 200
        await wire.send(get + get + GET)
        assert [(await wire.read_response()).status for _ in range(3)] == [200] * 3
    for arrival in proxy.bank.arrivals:
        assert not arrival.all("Upgrade") + arrival.all("Connection")
        assert not arrival.all("HTTP2-Settings")


@pytest.mark.parametrize("upgrade", [H2C, OTHER_UPGRADE], ids=["h2c", "other"])
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "sized"])
async def test_body_behind_an_upgrade_is_a_body(
    proxy: ProxyUnderTest, upgrade: list[str], *, together: bool, chunked: bool
) -> None:
    """It is never read as another request."""
    if chunked:
        head = request("POST", "/echo", *upgrade, "Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL)
    else:
        head = request("POST", "/echo", *upgrade, f"Content-Length: {len(EVIL)}")
        body = EVIL
    async with connect(proxy.app) as wire:
        for _ in range(2):
            if together:
                await wire.send(head + body + GET)
            else:
                await wire.send(head)
                await until(lambda: proxy.app.forwarder.in_flight == 1)
                await wire.send(body[:7])
                await wire.send(body[7:] + GET)
            response = await wire.read_response()
            assert response.status == 200
            assert response.json()["body"]["bytes"] == len(EVIL)
            assert (await wire.read_response()).json()["method"] == "GET"
    assert [arrival.method for arrival in proxy.bank.arrivals] == ["POST", "GET"] * 2
    assert not any("evil" in arrival.target for arrival in proxy.bank.arrivals)


# Targets.


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GET http://evil/p HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET https://127.0.0.1:1/p HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET @evil/p HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET evil:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n", {405}),
        (b"CONNECT /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405}),
        (b"TRACE /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
        (b"PROPFIND /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
        (b"get /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GETX /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo\r\n\r\n", {400, 505}),
        (b"GET /echo HTTP/0.9\r\nHost: localhost\r\n\r\n", {400, 505}),
        (b"GET /echo HTTP/2.0\r\nHost: localhost\r\n\r\n", {505}),
        (b"GET /echo HTTP/1.2\r\nHost: localhost\r\n\r\n", {505}),
        (b"GET /echo HTTP/9.9\r\nHost: localhost\r\n\r\n", {505}),
        (b"GET /echo HTTP/1.10\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo HTTP/1.1\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo HTTP/ 1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo HTTP/1.1 \r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo HTTP/11\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo HTTP/1.x\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo http/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"CONNECT evil:443 HTTP/1.0\r\n\r\n", {405}),
        (b"CONNECT evil:443 HTTP/2.0\r\nHost: evil:443\r\n\r\n", {505}),
        (b"GET /echo XTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}),
        (b"PRI * HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405}),
        (b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /v1/accounts#x HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /../v1/accounts HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /echo?a|b HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /\x7f HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        ("GET /ä HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400}),
        (b"\x00\x00\x00\x00", {400}),
        (b"hello\r\n\r\n", {400}),
    ],
)
async def test_invalid_request_line_is_refused(
    proxy: ProxyUnderTest, data: bytes, statuses: set[int]
) -> None:
    """No other host, method or protocol."""
    async with connect(proxy.app) as wire:
        response = await wire.ask(data)
        assert response.status in statuses
        assert response.header("x-proxy-error-source") == "caller"
        assert response.error
    assert not proxy.bank.arrivals


async def test_http_2_preface_gets_the_supported_version(proxy: ProxyUnderTest) -> None:
    """HTTP/2 with prior knowledge, cut anywhere (RFC 9113 section 3.4)."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    for cut in (8, 16, 19, 24):
        async with connect(proxy.app) as wire:
            await wire.send(preface[:cut], preface[cut:], every=0.01)
            response = await wire.read_response()
        assert (response.status, response.error) == (505, "version")
        assert "HTTP/1.1 only" in response.json()["detail"]


async def test_tls_on_a_plain_port_gets_an_error(proxy: ProxyUnderTest) -> None:
    """A TLS client gets a readable response."""
    response = await assert_refused(proxy, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
    assert response.error == "tls-on-http"


@pytest.mark.parametrize(
    "target",
    [
        *("//evil/p", "/a/%2e%2e%2fx", "/a/../x", "/a/..;/x", "/a%252fb", "/a%5cb", "/a%00b"),
        *("/a%0d%0ab", "/private?x=/public", "/?a=%zz;b=1", "/a;b=c", "/a:b", "/?[a]"),
        *("/'!$&()", "/?", "/??", "/a//b/", "/%", "/%zz", "/*"),
        "/?" + "&".join(f"p{n}={n}" for n in range(800)),
    ],
)
async def test_target_passes_byte_for_byte(proxy: ProxyUnderTest, target: str) -> None:
    """Without a path policy the target is not changed."""
    await ask(proxy.app, request("GET", target))
    assert [arrival.target for arrival in proxy.bank.arrivals] == [target]


async def test_ten_thousand_parameters() -> None:
    """Only the limit of the request line applies to a query."""
    target = "/?" + "&".join(f"p{n}={n}" for n in range(10_000))
    async with proxy_under_test(limits={"max_line": "200000", "max_head": "300000"}) as proxy:
        await ask(proxy.app, request("GET", target))
        assert proxy.bank.arrivals[-1].target == target


JUDGED = [
    *("/public/%2e%2e%2fprivate", "/public/../private", "/public/..;/private"),
    *("/public%252fx", "/public/%5c..%5cprivate", "/public%00/private", "/public%0d%0ax"),
    *("/public%23/private", "/private?x=/public", "//public", "/./public", "/PUBLIC", "/"),
]


@pytest.mark.parametrize("target", JUDGED)
async def test_ambiguous_path_is_refused_with_a_policy(target: str) -> None:
    """A path that servers could read differently cannot bypass the policy."""
    async with proxy_under_test(access={"allow": ["/public/**", "/echo/**"]}) as proxy:
        response = await ask(proxy.app, request("GET", target))
        assert (response.status, response.error) == (403, "path-policy")
        assert (await ask(proxy.app, request("GET", "/public/x?y=/private"))).status == 404
        assert [arrival.target for arrival in proxy.bank.arrivals] == ["/public/x?y=/private"]


RESERVED = [
    *("/oauth2/v1/token", "/oauth2/v1/revoke", "/v1/oauth/token", "//oauth2/v1/token"),
    *("/OAuth2/v1/token", "/x/../oauth2/v1/token", "/%6fauth2/v1/token", "/oauth2;a=b/v1/token"),
    *("/%256fauth2/v1/token", "/oauth2%2fv1%2ftoken", "/\\oauth2\\v1\\token", "/v1//oauth/token"),
]


@pytest.mark.parametrize("target", RESERVED)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_token_endpoints_are_refused(proxy: ProxyUnderTest, target: str, method: str) -> None:
    """In every spelling and with any credentials."""
    minted = len(proxy.bank.token_requests)
    data = request(method, target, f"Authorization: Basic {MARK}", body=b"grant_type=password")
    response = await ask(proxy.app, data)
    # A target must not contain a backslash (RFC 3986).
    expected = (400, "target-character") if "\\" in target else (403, "reserved")
    assert (response.status, response.error) == expected
    assert len(proxy.bank.token_requests) == minted
    assert not proxy.bank.revocations
    assert MARK not in proxy.log


# Request bodies.


async def test_continue_is_sent_only_if_the_body_is_wanted(proxy: ProxyUnderTest) -> None:
    """A refused request is not asked for its body."""
    async with connect(proxy.app) as wire:
        head = request("POST", "/oauth2/v1/token", "Content-Length: 5", "Expect: 100-continue")
        response = await wire.ask(head)
        assert (response.status, response.header("Connection")) == (403, "close")
    async with connect(proxy.app) as wire:
        await wire.send(request("POST", "/echo", "Content-Length: 5", "Expect: 100-continue"))
        assert (await wire.read_response()).status == 100
        await wire.send(b"hello")
        response = await wire.read_response()
        assert response.status == 200
        assert response.json()["body"]["bytes"] == 5
    assert proxy.bank.arrivals[0].all("Expect") == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
async def test_body_of_unusual_methods_is_forwarded(proxy: ProxyUnderTest, method: str) -> None:
    """With its length."""
    async with connect(proxy.app) as wire:
        response = await wire.ask(request(method, "/echo", body=EVIL))
        assert response.status == 200
        assert (await wire.ask()).status == 200
    first, second = proxy.bank.arrivals
    assert (first.method, first.body, first.header("Content-Length")) == (
        *(method, EVIL, str(len(EVIL))),
    )
    assert second.body == b""


async def test_gzip_body_passes_unchanged(proxy: ProxyUnderTest) -> None:
    """It is neither decoded nor re-framed."""
    body = gzip.compress(b"x" * 100_000)
    data = request("POST", "/echo", "Content-Encoding: gzip", body=body)
    assert (await ask(proxy.app, data)).status == 200
    (arrival,) = proxy.bank.arrivals
    assert arrival.body == body
    assert arrival.header("Content-Encoding") == "gzip"


LIMITED = {"limits": {"max_body": "1000"}}


@pytest.mark.parametrize(
    "data",
    [
        request("POST", "/echo", body=b"x" * 1001),
        request("POST", "/echo", "Content-Length: 2000000000"),
        request("POST", "/echo", "Content-Length: 2000000000", "Expect: 100-continue"),
        request("POST", "/echo", "Transfer-Encoding: chunked") + b"3e9\r\n" + b"x" * 1001,
        request("POST", "/echo", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 1001,
        request("POST", "/echo", "Transfer-Encoding: chunked")
        + b"3e9\r\n"
        + b"x" * 1001
        + b"\r\n0\r\n\r\n",
    ],
    ids=["declared", "huge", "asked", "undeclared", "in small chunks", "undeclared, all here"],
)
async def test_body_over_the_limit_is_refused(data: bytes) -> None:
    """413, without reading the rest."""
    async with proxy_under_test(**LIMITED) as proxy, connect(proxy.app) as wire:
        response = await wire.ask(data)
        assert (response.status, response.error) == (413, "body-too-large")
        assert not any(arrival.complete for arrival in proxy.bank.arrivals)


async def test_body_at_the_limit_is_accepted() -> None:
    """Sized and chunked."""
    async with proxy_under_test(**LIMITED) as proxy:
        sized = request("POST", "/echo", body=b"x" * 1000)
        chunked = request("POST", "/echo", "Transfer-Encoding: chunked")
        chunked += b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"
        assert (await ask(proxy.app, sized)).status == 200
        assert (await ask(proxy.app, chunked)).status == 200


async def test_refused_caller_that_keeps_sending_gets_the_response() -> None:
    """The response is not lost in a reset for unread bytes."""
    async with proxy_under_test(**LIMITED) as proxy, connect(proxy.app) as wire:
        await wire.send(request("POST", "/echo", "Content-Length: 100000000"))
        for _ in range(100):
            await wire.send(b"x" * 100_000)
        assert (await wire.read_response()).status == 413


async def test_endless_trailers_are_refused(proxy: ProxyUnderTest) -> None:
    """They are bounded and dropped."""
    async with connect(proxy.app) as wire:
        await wire.send(request("POST", "/echo", "Transfer-Encoding: chunked") + CHUNKS[:-2])
        response: RawResponse | None = None
        reading = asyncio.create_task(wire.read_response())
        async with asyncio.timeout(DEADLINE):
            while not reading.done():
                await wire.send(b"X-Trailer: " + b"a" * 4000 + b"\r\n")
        response = await reading
        assert response.status == 431
