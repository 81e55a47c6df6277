"""Bad input from a caller: every row of the catalogue that is about bytes, over a raw socket.

After each, the next good request on a new connection works, and a credential has come to the
bank from the proxy only (``proxy_under_test.py`` sees to that).
"""

import asyncio
import gzip

import pytest

from tests.hazards.proxy_under_test import BEARER, MARK, ProxyUnderTest, proxy_under_test
from tests.support.raw_client import GET, RawResponse, ask, connect, request
from tests.support.running import DEADLINE, until


async def refused(here: ProxyUnderTest, data: bytes, *statuses: int) -> RawResponse:
    """Send what must be refused: answered in our words, and the connection closed."""
    async with connect(here.app) as wire:
        await wire.send(data)
        response = await wire.read_response()
        assert response.status in statuses
        assert response.header("x-proxy-error-source") == "caller"
        assert response.error
        assert response.header("Connection") == "close"
        assert await wire.read_to_end() == b""
    assert not here.bank.arrivals or here.bank.arrivals[-1].complete is False
    assert MARK not in str(response.headers) + response.body.decode()
    assert MARK not in here.log
    return response


def post(*headers: str, body: bytes = b"") -> bytes:
    """Return a POST with exactly these headers."""
    lines = ["POST /echo HTTP/1.1", "Host: localhost", f"X-Mark: {MARK}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# Two readers, two lengths.

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
async def test_length_that_is_none(here: ProxyUnderTest, data: bytes) -> None:
    """A body whose end two readers could see in different places is refused."""
    await refused(here, data, 400)


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
async def test_coding_that_is_none(here: ProxyUnderTest, data: bytes) -> None:
    """Chunked, alone and once, is the only coding there is."""
    await refused(here, data, 400, 501)


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
async def test_bad_chunk(here: ProxyUnderTest, body: bytes, *, together: bool) -> None:
    """A chunk that is none is refused, whether it comes with the head or behind it."""
    head = post("Transfer-Encoding: chunked")
    if together:
        await refused(here, head + body, 400)
        return
    async with connect(here.app) as wire:
        await wire.send(head)
        await until(lambda: here.app.forwarder.in_flight == 1)
        await wire.send(body)
        response = await wire.read_response()
        assert (response.status, response.header("Connection")) == (400, "close")
        assert response.header("x-proxy-error-source") == "caller"
        assert await wire.read_to_end() == b""
    assert all(not arrival.complete for arrival in here.bank.arrivals)


TRAILERS = [
    f"Authorization: {BEARER}",
    "institutionId: 00017",
    "transactionId: 5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01",
    f"X-Last: {MARK}",
]


@pytest.mark.parametrize("trailer", TRAILERS)
async def test_trailer_is_no_header(here: ProxyUnderTest, trailer: str) -> None:
    """Neither of its own request, nor of the next one on the connection."""
    body = CHUNKS[:-2] + trailer.encode() + b"\r\n\r\n"
    head = request("POST", "/echo", "Transfer-Encoding: chunked", f"Trailer: {trailer}")
    async with connect(here.app) as wire:
        assert (await wire.ask(head + body)).status == 200
        assert (await wire.ask()).status == 200
        # And once more, all in one segment.
        await wire.send(head + body + GET)
        assert (await wire.read_response()).status == 200
        assert (await wire.read_response()).status == 200
    assert len(here.bank.arrivals) == 4
    for arrival in here.bank.arrivals:
        assert arrival.header("institutionId") == "00016"
        assert arrival.all("transactionId")[0] not in trailer
        assert arrival.header("X-Last") is None


# Headers that are none.

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
async def test_header_that_is_none(here: ProxyUnderTest, line: bytes) -> None:
    """Is refused; what it said stands neither in the answer nor in the log."""
    mark = MARK.encode()
    data = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Mark: " + mark + b"\r\n"
    await refused(here, data + line + mark + b"\r\n\r\n", 400)


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
async def test_head_that_is_too_large(here: ProxyUnderTest, data: bytes, status: int) -> None:
    """Is refused, whole or while it still comes, and the caller gets to read why."""
    await refused(here, data, status, 414, 431)


async def test_head_at_the_limit(here: ProxyUnderTest) -> None:
    """What the limits allow goes through."""
    headers = [f"X-{n}: {'a' * 600}" for n in range(95)]
    response = await ask(here.app, request("GET", "/echo/" + "a" * 5000, *headers))
    assert response.status == 200
    assert len(here.bank.arrivals[0].headers) >= 95


async def test_head_that_is_too_large_in_pieces(here: ProxyUnderTest) -> None:
    """However it is cut up."""
    line = b"X-A: " + b"a" * 5000 + b"\r\n"
    async with connect(here.app) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n", *[line] * 30)
        response = await wire.read_response()
        assert (response.status, response.error) == (431, "too-large")
        assert await wire.read_to_end() == b""


HOSTS = {
    "none": b"GET /echo HTTP/1.1\r\n\r\n",
    "none on HTTP/1.0": b"GET /echo HTTP/1.0\r\n\r\n",
    "two": b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "empty": b"GET /echo HTTP/1.1\r\nHost:\r\n\r\n",
    "a@b": b"GET /echo HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a/b": b"GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a b": b"GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a:99999": b"GET /echo HTTP/1.1\r\nHost: a:99999\r\n\r\n",
    "a, b": b"GET /echo HTTP/1.1\r\nHost: a, b\r\n\r\n",
}


@pytest.mark.parametrize("data", HOSTS.values(), ids=HOSTS)
async def test_host_that_is_none(here: ProxyUnderTest, data: bytes) -> None:
    """One host, or none of our time."""
    async with connect(here.app) as wire:
        response = await wire.ask(data)
        assert (response.status, response.error) == (400, "bad-host")
    assert not here.bank.arrivals


async def test_upstream_gets_the_configured_host(here: ProxyUnderTest) -> None:
    """Whatever host a caller names."""
    for host in ("evil.test", "api.candescent.com", "127.0.0.1:1"):
        assert (await ask(here.app, request("GET", "/echo", host=host))).status == 200
        assert here.bank.arrivals[-1].all("Host") == [here.bank.url.removeprefix("http://")]


# What is ours, and what is not to be passed on.

OWNED = [
    *("AUTHORIZATION", "authorization", "Authorization", "aUTHORIZATION"),
    *("Institution-Id", "institution_id", "INSTITUTION_ID", "transaction-id", "Transaction_Id"),
    *("di_fiid", "di-fiid", "DIFIID", "di-tid", "ditid"),
]


@pytest.mark.parametrize("name", OWNED)
async def test_owned_header(here: ProxyUnderTest, name: str) -> None:
    """Ours wins, once, however theirs is spelt and however often it comes."""
    for headers in (
        [f"{name}: {MARK}"],
        [f"{name}: {MARK}", f"{name}: {MARK}"],
        [f"{name}: {MARK}", f"{name.swapcase()}: {MARK}", f"{name}:"],
    ):
        assert (await ask(here.app, request("GET", "/echo", *headers))).status == 200
        (arrival,) = here.bank.arrivals
        assert arrival.all("institutionId") == ["00016"]
        assert len(arrival.all("transactionId")) == len(arrival.all("Authorization")) == 1
        bare = {key.lower().replace(b"-", b"").replace(b"_", b"") for key, _ in arrival.headers}
        assert not bare & {b"difiid", b"ditid"}
        assert sum(key.lower().startswith((b"auth", b"inst")) for key, _ in arrival.headers) == 2
        here.bank.arrivals.clear()


@pytest.mark.parametrize("name", ["Institutionid", "INSTITUTIONID", "institutionId"])
async def test_institution_that_is_not_served(here: ProxyUnderTest, name: str) -> None:
    """A caller may ask for an institution, and gets no other than it may have."""
    response = await ask(here.app, request("GET", "/echo", f"{name}: {MARK}"))
    assert (response.status, response.error) == (400, "institution-malformed")
    response = await ask(here.app, request("GET", "/echo", f"{name}: 00017"))
    assert (response.status, response.error) == (403, "institution-not-allowed")
    response = await ask(here.app, request("GET", "/echo", f"{name}: 00016", f"{name}: 00017"))
    assert (response.status, response.error) == (400, "institution-conflict")
    assert not here.bank.arrivals


@pytest.mark.parametrize(
    "value",
    [
        *("close, Authorization", "institutionId", "keep-alive, transactionId, AUTHORIZATION"),
        *("correlationId", "host, content-length"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["alone", "behind an empty one"])
async def test_connection_does_not_take_ours(
    here: ProxyUnderTest, value: str, *, first: bool
) -> None:
    """What Connection names is the caller's; our headers still arrive."""
    headers = [f"Connection: {value}", "correlationId: theirs", f"Authorization: {BEARER}"]
    response = await ask(
        here.app, request("GET", "/echo", *([] if first else ["Connection:"]), *headers)
    )
    assert response.status == 200
    (arrival,) = here.bank.arrivals
    for name in ("Authorization", "institutionId", "transactionId", "correlationId", "Host"):
        assert len(arrival.all(name)) == 1
    assert arrival.all("Connection") == []


HOP_BY_HOP = [
    *("TE: trailers", "Keep-Alive: timeout=5", f"Proxy-Authorization: {BEARER}"),
    *(f"Proxy-Authenticate: {MARK}", "Proxy-Connection: keep-alive", "Trailer: X"),
    *("Connection: X-Gone\r\nX-Gone: 1", f"Connection: x-gone, close\r\nX-GONE: {MARK}"),
]


@pytest.mark.parametrize("line", HOP_BY_HOP)
async def test_hop_by_hop_header(here: ProxyUnderTest, line: str) -> None:
    """It is for us, and goes no further."""
    assert (await ask(here.app, request("GET", "/echo", line))).status == 200
    names = {name.lower() for name, _ in here.bank.arrivals[0].headers}
    assert not names & {b"te", b"keep-alive", b"trailer", b"x-gone", b"connection"}
    assert not {name for name in names if name.startswith(b"proxy-")}


H2C = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"]
OTHER_UPGRADE = ["Connection: Upgrade", "Upgrade: tls/1.2"]
EVIL = b"GET /evil HTTP/1.1\r\nHost: localhost\r\n\r\n"
WEBSOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]


@pytest.mark.parametrize("body", [b"", EVIL], ids=["bare", "with-body"])
async def test_websocket_is_refused(here: ProxyUnderTest, body: bytes) -> None:
    """A handshake gets a sentence, and what follows it is never another request."""
    handshake = request("GET", "/echo", *WEBSOCKET, f"Content-Length: {len(body)}")
    async with connect(here.app) as wire:
        await wire.send(handshake + body)
        response = await wire.read_response()
        assert response.status == 501
        assert response.json()["type"].endswith(":websocket")
    assert not here.bank.arrivals


@pytest.mark.parametrize("upgrade", [H2C, OTHER_UPGRADE], ids=["h2c", "other"])
async def test_upgrade_is_not_forwarded(here: ProxyUnderTest, upgrade: list[str]) -> None:
    """It is answered like any other request, and the connection goes on, as Java needs it."""
    get = request("GET", "/echo", *upgrade)
    async with connect(here.app) as wire:
        for _ in range(3):
            assert (await wire.ask(get)).status == 200
        await wire.send(get + get + GET)
        assert [(await wire.read_response()).status for _ in range(3)] == [200] * 3
    for arrival in here.bank.arrivals:
        assert not arrival.all("Upgrade") + arrival.all("Connection")
        assert not arrival.all("HTTP2-Settings")


@pytest.mark.parametrize("upgrade", [H2C, OTHER_UPGRADE], ids=["h2c", "other"])
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "sized"])
async def test_body_behind_an_upgrade_is_a_body(
    here: ProxyUnderTest, upgrade: list[str], *, together: bool, chunked: bool
) -> None:
    """And never another request, though to an upgraded reader it would be one."""
    if chunked:
        head = request("POST", "/echo", *upgrade, "Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL)
    else:
        head = request("POST", "/echo", *upgrade, f"Content-Length: {len(EVIL)}")
        body = EVIL
    async with connect(here.app) as wire:
        for _ in range(2):
            if together:
                await wire.send(head + body + GET)
            else:
                await wire.send(head)
                await until(lambda: here.app.forwarder.in_flight == 1)
                await wire.send(body[:7])
                await wire.send(body[7:] + GET)
            response = await wire.read_response()
            assert response.status == 200
            assert response.json()["body"]["bytes"] == len(EVIL)
            assert (await wire.read_response()).json()["method"] == "GET"
    assert [arrival.method for arrival in here.bank.arrivals] == ["POST", "GET"] * 2
    assert not any("evil" in arrival.target for arrival in here.bank.arrivals)


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
        (b"GET /echo HTTP/1.10\r\nHost: localhost\r\n\r\n", {400, 505}),
        (b"GET /echo XTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}),
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
async def test_request_line_that_is_none(
    here: ProxyUnderTest, data: bytes, statuses: set[int]
) -> None:
    """No other host, no other method, no other protocol."""
    async with connect(here.app) as wire:
        response = await wire.ask(data)
        assert response.status in statuses
        assert response.header("x-proxy-error-source") == "caller"
        assert response.error
    assert not here.bank.arrivals


async def test_tls_on_a_plain_port_is_told(here: ProxyUnderTest) -> None:
    """A caller that speaks TLS reads what is wrong, if it reads at all."""
    response = await refused(here, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
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
async def test_target_passes_byte_for_byte(here: ProxyUnderTest, target: str) -> None:
    """Without a path policy, what the caller wrote is what the bank reads."""
    await ask(here.app, request("GET", target))
    assert [arrival.target for arrival in here.bank.arrivals] == [target]


async def test_ten_thousand_parameters() -> None:
    """A long query is a matter of the limit on the request line, and of nothing else."""
    target = "/?" + "&".join(f"p{n}={n}" for n in range(10_000))
    async with proxy_under_test(limits={"max_line": "200000", "max_head": "300000"}) as here:
        await ask(here.app, request("GET", target))
        assert here.bank.arrivals[-1].target == target


JUDGED = [
    *("/public/%2e%2e%2fprivate", "/public/../private", "/public/..;/private"),
    *("/public%252fx", "/public/%5c..%5cprivate", "/public%00/private", "/public%0d%0ax"),
    *("/public%23/private", "/private?x=/public", "//public", "/./public", "/PUBLIC", "/"),
]


@pytest.mark.parametrize("target", JUDGED)
async def test_path_policy_is_not_talked_round(target: str) -> None:
    """With a path policy, what two servers could read differently is refused."""
    async with proxy_under_test(access={"allow": ["/public/**", "/echo/**"]}) as here:
        response = await ask(here.app, request("GET", target))
        assert (response.status, response.error) == (403, "path-policy")
        assert (await ask(here.app, request("GET", "/public/x?y=/private"))).status == 404
        assert [arrival.target for arrival in here.bank.arrivals] == ["/public/x?y=/private"]


RESERVED = [
    *("/oauth2/v1/token", "/oauth2/v1/revoke", "/v1/oauth/token", "//oauth2/v1/token"),
    *("/OAuth2/v1/token", "/x/../oauth2/v1/token", "/%6fauth2/v1/token", "/oauth2;a=b/v1/token"),
    *("/%256fauth2/v1/token", "/oauth2%2fv1%2ftoken", "/\\oauth2\\v1\\token", "/v1//oauth/token"),
]


@pytest.mark.parametrize("target", RESERVED)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_nobody_mints_or_revokes_through_us(
    here: ProxyUnderTest, target: str, method: str
) -> None:
    """In whatever spelling; whatever credentials come with it."""
    minted = len(here.bank.token_requests)
    data = request(method, target, f"Authorization: Basic {MARK}", body=b"grant_type=password")
    response = await ask(here.app, data)
    # A backslash may not stand in a target at all (RFC 3986).
    expected = (400, "target-character") if "\\" in target else (403, "reserved")
    assert (response.status, response.error) == expected
    assert len(here.bank.token_requests) == minted
    assert not here.bank.revocations
    assert MARK not in here.log


# Bodies.


async def test_continue_is_said_only_when_the_body_is_wanted(here: ProxyUnderTest) -> None:
    """A request that is refused anyway is not asked for its body."""
    async with connect(here.app) as wire:
        head = request("POST", "/oauth2/v1/token", "Content-Length: 5", "Expect: 100-continue")
        response = await wire.ask(head)
        assert (response.status, response.header("Connection")) == (403, "close")
    async with connect(here.app) as wire:
        await wire.send(request("POST", "/echo", "Content-Length: 5", "Expect: 100-continue"))
        assert (await wire.read_response()).status == 100
        await wire.send(b"hello")
        response = await wire.read_response()
        assert response.status == 200
        assert response.json()["body"]["bytes"] == 5
    assert here.bank.arrivals[0].all("Expect") == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
async def test_body_where_none_is_usual(here: ProxyUnderTest, method: str) -> None:
    """Body and length stay together."""
    async with connect(here.app) as wire:
        response = await wire.ask(request(method, "/echo", body=EVIL))
        assert response.status == 200
        assert (await wire.ask()).status == 200
    first, second = here.bank.arrivals
    assert (first.method, first.body, first.header("Content-Length")) == (
        *(method, EVIL, str(len(EVIL))),
    )
    assert second.body == b""


async def test_gzip_body_passes_as_it_is(here: ProxyUnderTest) -> None:
    """Not unpacked, not measured anew."""
    body = gzip.compress(b"x" * 100_000)
    data = request("POST", "/echo", "Content-Encoding: gzip", body=body)
    assert (await ask(here.app, data)).status == 200
    (arrival,) = here.bank.arrivals
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
async def test_body_over_the_limit(data: bytes) -> None:
    """413, with no more of it read than need be."""
    async with proxy_under_test(**LIMITED) as here, connect(here.app) as wire:
        response = await wire.ask(data)
        assert (response.status, response.error) == (413, "body-too-large")
        assert not any(arrival.complete for arrival in here.bank.arrivals)


async def test_body_at_the_limit() -> None:
    """What is not over it passes, sized and in chunks."""
    async with proxy_under_test(**LIMITED) as here:
        sized = request("POST", "/echo", body=b"x" * 1000)
        chunked = request("POST", "/echo", "Transfer-Encoding: chunked")
        chunked += b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"
        assert (await ask(here.app, sized)).status == 200
        assert (await ask(here.app, chunked)).status == 200


async def test_caller_that_keeps_sending_reads_why_it_is_refused() -> None:
    """An answer is not lost in the reset that unread bytes would cause."""
    async with proxy_under_test(**LIMITED) as here, connect(here.app) as wire:
        await wire.send(request("POST", "/echo", "Content-Length: 100000000"))
        for _ in range(100):
            await wire.send(b"x" * 100_000)
        assert (await wire.read_response()).status == 413


async def test_endless_trailers(here: ProxyUnderTest) -> None:
    """They are not collected, and not listened to for ever."""
    async with connect(here.app) as wire:
        await wire.send(request("POST", "/echo", "Transfer-Encoding: chunked") + CHUNKS[:-2])
        response: RawResponse | None = None
        reading = asyncio.create_task(wire.read_response())
        async with asyncio.timeout(DEADLINE):
            while not reading.done():
                await wire.send(b"X-Trailer: " + b"a" * 4000 + b"\r\n")
        response = await reading
        assert response.status == 431
