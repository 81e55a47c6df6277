"""Header rules: by example, and as properties of any headers that a caller may send."""

from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import CallerError
from proxy.forwarding.headers import (
    CallerHeaders,
    HeaderRule,
    ResponseHeaders,
    classify_request_header,
    classify_response_header,
    our_headers,
    request_head,
)
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind

HOST = (b"Host", b"localhost")
UUID = b"5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01"
TOKEN = st.text("ABCxyz0129!#$%&'*+-.^_`|~", min_size=1, max_size=20).map(str.encode)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30).map(
    lambda text: text.strip().encode()
)
OWNED = ["Authorization", "transactionId", "institutionId", "di_fiid", "di_tid"]


def read(*headers: tuple[bytes, bytes]) -> CallerHeaders:
    """Read headers; adds a Host where none is given."""
    return CallerHeaders(
        headers if any(name.lower() == b"host" for name, _ in headers) else (HOST, *headers)
    )


def forwarded(caller: CallerHeaders) -> list[tuple[bytes, bytes]]:
    """Return the headers that are forwarded as received."""
    lines = caller.lines
    assert all(lines[at] == b": " for at in range(1, len(lines), 4))
    assert all(lines[at] == b"\r\n" for at in range(3, len(lines), 4))
    return list(zip(lines[::4], lines[2::4], strict=True))


def refusal(*headers: tuple[bytes, bytes]) -> tuple[int, str]:
    """Read headers that must be refused; return status and error name."""
    with pytest.raises(CallerError) as caught:
        read(*headers)
    return caught.value.kind.status, caught.value.kind.name


def spellings(name: str) -> Iterable[str]:
    """Return ways to write a name that some servers treat as the same."""
    dashed = name.replace("_", "-")
    split = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    return {
        name,
        name.lower(),
        name.upper(),
        name.title(),
        name.swapcase(),
        dashed,
        dashed.replace("-", "_"),
        dashed.replace("-", ""),
        split.strip("-"),
        split.strip("-").replace("-", "_").upper(),
    }


# Request headers.


def test_ordinary_headers_are_forwarded_unchanged() -> None:
    """Order, case and duplicates are kept, whatever the headers mean."""
    headers = [
        (b"Accept", b"application/json"),
        (b"Cache-Control", b"no-cache"),
        (b"x-One", b"1"),
        (b"X-ONE", b"2"),
        (b"Cookie", b"a=b; c=d"),
        (b"Accept-Encoding", b"gzip"),
        (b"Content-Type", b"application/xml"),
        (b"Content-Encoding", b"gzip"),
        (b"Empty", b""),
    ]
    assert forwarded(read(*headers)) == headers


@pytest.mark.parametrize("name", sorted({way for name in OWNED for way in spellings(name)}))
def test_proxy_headers_are_never_forwarded(name: str) -> None:
    """No spelling of a header that the proxy sets itself is forwarded."""
    raw = name.encode()
    assert forwarded(read((raw, b"theirs"), (b"X", b"y"), (raw.swapcase(), b"theirs"))) == [
        (b"X", b"y")
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("TE", "Keep-Alive", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Connection"),
        *("Upgrade", "Trailer", "keep_alive", "Proxy_Authorization"),
    ],
)
def test_hop_by_hop_headers_are_never_forwarded(name: str) -> None:
    """They concern one connection (RFC 9110 section 7.6.1)."""
    assert forwarded(read((name.encode(), b"x"), (name.lower().encode(), b"y"))) == []


@pytest.mark.parametrize("name", ["Content_Length", "transfer_encoding", "CONTENT_length"])
def test_misspelt_framing_headers_are_never_forwarded(name: str) -> None:
    """Another server might take them for a second length."""
    caller = read((name.encode(), b"7"))
    assert forwarded(caller) == []
    assert caller.length is None


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"close", [b"A", b"B", b"c"]),
        (b"keep-alive", [b"A", b"B", b"c"]),
        (b"", [b"A", b"B", b"c"]),
        (b",", [b"A", b"B", b"c"]),
        (b"a", [b"B", b"c"]),
        (b"A, b", [b"c"]),
        (b" a ,close,\tC ", [b"B"]),
        (b"Authorization, institutionId, host, content-length", [b"A", b"B", b"c"]),
    ],
)
def test_headers_named_by_connection_are_removed(value: bytes, left: list[bytes]) -> None:
    """Names in Connection match in any case; Connection itself is removed."""
    caller = read((b"A", b"1"), (b"Connection", value), (b"B", b"2"), (b"c", b"3"))
    assert [name for name, _ in forwarded(caller)] == left


def test_several_connection_headers_are_combined() -> None:
    """All of them count, an empty first one too."""
    caller = read(
        (b"Connection", b""),
        (b"connection", b"a"),
        (b"a", b"1"),
        (b"CONNECTION", b"b"),
        (b"B", b""),
    )
    assert forwarded(caller) == []


@pytest.mark.parametrize(
    ("name", "noted"),
    [
        (b"correlationId", "has_correlation_id"),
        (b"correlation-id", "has_correlation_id"),
        (b"institutionCustomerId", "has_customer_id"),
        (b"Institution_Customer_Id", "has_customer_id"),
    ],
)
def test_evaluated_headers_are_forwarded(name: bytes, noted: str) -> None:
    """They are forwarded and evaluated, unless Connection names them."""
    caller = read((name, b"x"))
    assert forwarded(caller) == [(name, b"x")]
    assert getattr(caller, noted) is True
    assert getattr(read(), noted) is False
    caller = read((name, b"x"), (b"Connection", name))
    assert forwarded(caller) == []
    assert getattr(caller, noted) is False


@pytest.mark.parametrize(("name", "kept"), [("transactionId", "transaction_id"), ("di_tid", "tid")])
def test_transaction_id_must_be_one_valid_uuid(name: str, kept: str) -> None:
    """One valid UUID in the documented spelling is kept; anything else is ignored."""
    raw = name.encode()
    assert getattr(read((raw, UUID)), kept) == UUID
    assert getattr(read((raw.upper(), UUID.upper())), kept) == UUID.upper()
    assert not getattr(read(), kept)
    assert not getattr(read((raw, b"")), kept)
    assert not getattr(read((raw, b"17")), kept)
    assert not getattr(read((raw, UUID + b"0")), kept)
    assert not getattr(read((raw, UUID.replace(b"-", b""))), kept)
    assert not getattr(read((raw, UUID), (raw.lower(), UUID)), kept)
    assert not getattr(read((raw, UUID), (raw, b"x"), (raw, UUID)), kept)
    other = b"transaction-id" if kept == "transaction_id" else b"di-tid"
    assert not getattr(read((other, UUID)), kept)


def test_institution_id_of_the_caller() -> None:
    """Equal duplicates count as one; different ones are refused."""
    assert read().institution is None
    assert read((b"InstitutionID", b"00017")).institution == b"00017"
    assert read((b"institutionId", b"17"), (b"institutionid", b"17")).institution == b"17"
    assert read((b"institution_id", b"17")).institution is None
    assert refusal((b"institutionId", b"1"), (b"institutionId", b"2")) == (
        400,
        "institution-conflict",
    )


# Framing.


@pytest.mark.parametrize(
    ("headers", "length", "chunked"),
    [
        ([], None, False),
        ([(b"Content-Length", b"0")], 0, False),
        ([(b"content-length", b"007")], 7, False),
        ([(b"Content-Length", b"9" * 18)], int("9" * 18), False),
        ([(b"Transfer-Encoding", b"Chunked")], None, True),
    ],
)
def test_framing_of_requests(
    headers: list[tuple[bytes, bytes]], length: int | None, *, chunked: bool
) -> None:
    """A request has a length, chunks, or neither."""
    caller = read(*headers)
    assert (caller.length, caller.chunked) == (length, chunked)
    assert forwarded(caller) == []


LENGTH, CODING = b"Content-Length", b"Transfer-Encoding"


@pytest.mark.parametrize(
    ("headers", "response"),
    [
        ([(LENGTH, b"1"), (LENGTH, b"1")], (400, "bad-framing")),
        ([(LENGTH, b"1"), (CODING, b"chunked")], (400, "bad-framing")),
        ([(CODING, b"chunked"), (LENGTH, b"1")], (400, "bad-framing")),
        ([(CODING, b"chunked"), (CODING, b"chunked")], (400, "bad-framing")),
        ([(LENGTH, b"1, 1")], (400, "bad-framing")),
        ([(LENGTH, b"+1")], (400, "bad-framing")),
        ([(LENGTH, b"-1")], (400, "bad-framing")),
        ([(LENGTH, b"0x1")], (400, "bad-framing")),
        ([(LENGTH, b"1_0")], (400, "bad-framing")),
        ([(LENGTH, b"")], (400, "bad-framing")),
        ([(LENGTH, b"1" + b"0" * 23)], (400, "bad-framing")),
        ([(LENGTH, "٣".encode())], (400, "bad-header")),
        ([(CODING, b"xchunked")], (501, "transfer-encoding")),
        ([(CODING, b"chunked, identity")], (501, "transfer-encoding")),
        ([(CODING, b",chunked")], (501, "transfer-encoding")),
        ([(CODING, b"gzip, chunked")], (501, "transfer-encoding")),
        ([(CODING, b"\x0bchunked")], (501, "transfer-encoding")),
        ([(CODING, b"")], (501, "transfer-encoding")),
    ],
)
def test_ambiguous_framing_is_refused(
    headers: list[tuple[bytes, bytes]], response: tuple[int, str]
) -> None:
    """Framing that two servers could read differently is refused in any order."""
    assert refusal(*headers) == response


def test_expect_is_not_forwarded() -> None:
    """The proxy answers 100-continue itself and refuses other expectations."""
    caller = read((b"Expect", b"100-Continue"))
    assert caller.expects_continue
    assert forwarded(caller) == []
    assert not read((b"Expect", b"teapot")).expects_continue


# Host.


@pytest.mark.parametrize(
    "host",
    [
        *(b"localhost", b"a", b"127.0.0.1:8080", b"[::1]", b"[::1]:8080", b"a.b-c_d~e:0"),
        *(b"a:65535", b"a:"),
    ],
)
def test_valid_host_is_accepted(host: bytes) -> None:
    """A name or an address, with or without a port."""
    caller = read((b"Host", host))
    assert caller.host == host
    assert forwarded(caller) == []


@pytest.mark.parametrize(
    "host",
    [
        *(b"", b"a@b", b"a/b", b"a b", b"a:99999", b"a:65536", b"a:b", b"a:1:2", b"::1", b"[::1"),
        *(b"a?b", b"a#b", b"a\\b", b"http://a", b"a:123456", b":80", b"[x]", b"a\x01"),
    ],
)
def test_invalid_host_is_refused(host: bytes) -> None:
    """Anything else is refused."""
    assert refusal((b"Host", host)) == (400, "bad-host")


def test_exactly_one_host_is_required() -> None:
    """Two are refused even if they are equal."""
    assert refusal(HOST, HOST) == (400, "bad-host")
    with pytest.raises(CallerError):
        CallerHeaders(())


@pytest.mark.parametrize("byte", [0x80, 0x85, 0xFF])
def test_non_ascii_header_name_is_refused(byte: int) -> None:
    """Servers decode such a name differently."""
    for name in (b"X", b"Authorization", b"Connection", b"Host"):
        assert refusal((name, b"a" + bytes([byte]))) == (400, "bad-header")


# Properties.


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=20))
def test_forwarded_headers_are_an_ordered_subset(headers: list[tuple[bytes, bytes]]) -> None:
    """Only permitted headers are forwarded, in their order."""
    try:
        caller = read(*headers)
    except CallerError:
        return
    left = iter(headers)
    for pair in forwarded(caller):
        assert pair in left  # membership in an iterator consumes it, so order counts
        bare = pair[0].lower().replace(b"_", b"").replace(b"-", b"")
        assert bare not in {b"authorization", b"institutionid", b"transactionid"}
        assert bare not in {b"difiid", b"ditid", b"contentlength", b"transferencoding"}
        assert bare not in {b"te", b"upgrade", b"keepalive", b"connection", b"host", b"trailer"}


@given(
    st.sampled_from(OWNED),
    st.lists(st.booleans(), min_size=20, max_size=20),
    st.lists(st.sampled_from(["", "-", "_"]), min_size=20, max_size=20),
)
def test_proxy_headers_match_in_any_spelling(
    name: str, upper: list[bool], between: list[str]
) -> None:
    """Case, dashes and underscores make no difference."""
    letters = zip(name.replace("_", ""), upper, between, strict=False)
    spelt = "".join((one.upper() if up else one.lower()) + gap for one, up, gap in letters)
    assert forwarded(read((spelt.encode(), b"x"))) == []


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=12), st.lists(TOKEN, max_size=4))
def test_connection_removes_exactly_the_named_headers(
    headers: list[tuple[bytes, bytes]], named: list[bytes]
) -> None:
    """The rest is as if there were no Connection header."""
    headers = [pair for pair in headers if classify_request_header(pair[0]) is HeaderRule.PASS]
    caller = read(*headers, (b"Connection", b",".join(named)))
    low = {name.lower() for name in named} - {b"close", b"keep-alive"}
    assert forwarded(caller) == [pair for pair in headers if pair[0].lower() not in low]


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=12))
def test_reading_does_not_modify_headers(headers: list[tuple[bytes, bytes]]) -> None:
    """The inbound request is never changed."""
    before = list(headers)
    with suppress(CallerError):
        read(*headers)
    assert headers == before


# The outbound request head.


def test_request_head() -> None:
    """Request line, configured Host, the caller's headers, framing, and the proxy's headers."""
    caller = read((b"Accept", b"*/*"), (b"Content-Length", b"05"))
    head = request_head("POST", b"/v1/x?y=%zz", b"bank", caller, [b"A: ", b"b", b"\r\n"])
    assert head == (
        b"POST /v1/x?y=%zz HTTP/1.1\r\nHost: bank\r\nAccept: */*\r\n"
        b"Content-Length: 5\r\nA: b\r\n\r\n"
    )


def test_request_head_of_a_chunked_body() -> None:
    """Chunked stays chunked."""
    caller = read((b"Transfer-Encoding", b"CHUNKED"))
    head = request_head("PUT", b"/", b"bank", caller, [])
    assert head == b"PUT / HTTP/1.1\r\nHost: bank\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_request_head_without_a_body() -> None:
    """It has no framing header."""
    assert request_head("GET", b"/", b"bank", read(), []) == b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n"


# Response headers.


def test_response_headers_are_filtered() -> None:
    """Hop-by-hop, framing and the proxy's own error headers are removed."""
    head = ResponseHeaders(
        [
            (b"Server", b"bank"),
            (b"Content-Length", b"3 "),
            (b"Keep-Alive", b"timeout=5"),
            (b"X-Proxy-Error-Source", b"token"),
            (b"Set-Cookie", b"a"),
            (b"set-cookie", b"b"),
            (b"Host", b"odd"),
            (b"Connection", b"close, x-gone"),
            (b"X-Gone", b"1"),
            (b"TransactionId", UUID),
            (b"Location", b"/elsewhere"),
            (b"X", b"\xff"),
        ]
    )
    assert list(zip(head.lines[::4], head.lines[2::4], strict=True)) == [
        (b"Server", b"bank"),
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"Host", b"odd"),
        (b"TransactionId", UUID),
        (b"X", b"\xff"),
    ]
    assert (head.url_headers, head.length, head.transaction_id) == (
        [(b"Location", b"/elsewhere")],
        b"3",
        UUID,
    )


def test_headers_with_addresses_are_hop_by_hop_if_named() -> None:
    """A header that Connection names is removed, whatever it contains."""
    link, location = (b"Link", b"</a>"), (b"Location", b"/b")
    for named, left in ((b"link", [location]), (b"link, Location", None)):
        assert ResponseHeaders([link, location, (b"Connection", named)]).url_headers == left


def test_empty_response_head() -> None:
    """It has neither id nor coding."""
    head = ResponseHeaders([])
    assert (head.lines, head.length, head.url_headers) == ([], None, None)
    assert not any((head.is_gzipped, head.transaction_id, head.tid))


def test_transaction_id_named_by_connection_is_removed() -> None:
    """The response then gets an id of the proxy."""
    head = ResponseHeaders([(b"transactionId", UUID), (b"Connection", b"transactionid")])
    assert head.lines == []
    assert head.transaction_id is None


@pytest.mark.parametrize(
    ("name", "kept"), [(b"transactionId", "transaction_id"), (b"DI_TID", "tid")]
)
def test_every_id_of_a_response_is_kept(name: bytes, kept: str) -> None:
    """The last in its place, the others apart."""
    one, two, three = ((name, value) for value in (b"a", b"b", b"c"))
    assert ResponseHeaders([one]).more_ids is None
    head = ResponseHeaders([one, two, three])
    assert (getattr(head, kept), head.more_ids) == (b"c", [b"a", b"b"])


def test_via_is_noted_and_forwarded() -> None:
    """Of all lines (RFC 9110 section 7.6.3)."""
    lines = [(b"Via", b"1.1 a"), (b"via", b"1.0 b")]
    caller = read(*lines)
    assert (caller.via, forwarded(caller)) == (b"1.1 a1.0 b", lines)


def test_transfer_coding_is_removed() -> None:
    """The proxy frames the response anew."""
    assert ResponseHeaders([(b"TRANSFER-encoding", b"chunked")]).lines == []


def test_header_rules_are_cached() -> None:
    """The rule of a name is the same on each call."""
    assert classify_request_header(b"HOST") is classify_request_header(b"host") is HeaderRule.HOST
    assert classify_response_header(b"HOST") is HeaderRule.PASS
    assert classify_response_header(b"x-proxy-error-source") is HeaderRule.DROP


def test_gzip_response_is_recognized() -> None:
    """Only the coding gzip counts, in any case; all codings pass."""
    head = ResponseHeaders([(b"CONTENT-encoding", b"GZIP")])
    assert head.is_gzipped
    assert head.lines == [b"CONTENT-encoding", b": ", b"GZIP", b"\r\n"]
    assert not ResponseHeaders([(b"Content-Encoding", b"br")]).is_gzipped


def test_browser_headers_are_evaluated() -> None:
    """They are kept for ``browser_policy`` and forwarded, except ``Upgrade``."""
    assert not read((b"Accept", b"*/*")).is_of_browser
    headers = read(
        (b"Sec-Fetch-Site", b"same-origin"),
        (b"Origin", b"http://localhost:8080"),
        (b"Upgrade", b"websocket"),
        (b"Access-Control-Request-Method", b"PUT"),
        (b"Access-Control-Request-Headers", b"institutionid"),
        (b"Access-Control-Request-Private-Network", b"true"),
    )
    assert headers.is_of_browser
    assert (headers.fetch_site, headers.upgrade) == (b"same-origin", b"websocket")
    assert headers.page_origins == [b"http://localhost:8080"]
    assert (headers.preflight_method, headers.preflight_headers) == (b"PUT", b"institutionid")
    assert headers.asks_private_network
    assert b"Origin" in headers.lines
    assert b"Upgrade" not in headers.lines


def proxy_lines(
    kind: TokenKind, *, customer_id: bytes | None = None, correlation_id: bool = False
) -> str:
    """Return the proxy's own header lines for a token of ``kind``."""
    token = Token(TokenKey(kind, "00016"), "secret", Instant(0.0, 0.0), 300.0)
    lines = our_headers(token, UUID, customer_id, correlation_id=correlation_id)
    return b"".join(lines).decode().replace(UUID.decode(), "ID")


def test_proxy_headers_depend_on_the_api_generation() -> None:
    """V1 gets a transaction id only; V2 the institution and configured headers too."""
    login = "Authorization: Bearer secret\r\n"
    v2 = login + "transactionId: ID\r\ninstitutionId: 00016\r\n"
    assert proxy_lines(TokenKind.V1, customer_id=b"7") == login + "di_tid: ID\r\n"
    assert proxy_lines(TokenKind.V2) == v2
    assert proxy_lines(TokenKind.V2, correlation_id=True) == v2 + "correlationId: ID\r\n"
    assert proxy_lines(TokenKind.V2, customer_id=b"7") == v2 + "institutionCustomerId: 7\r\n"


@pytest.mark.parametrize(
    "name",
    [
        *("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL"),
        *("X-Rewrite-URL", "x_http_method_override", "X-Original_Url"),
        *("X-Forwarded-Path", "X-Original-Method", "X-HTTP-Path-Override", "X-Override-URL"),
        *("X-Envoy-Original-Path", "X-Rewrite-Path", "X-Request-URI"),
    ],
)
def test_override_of_method_or_path_is_dropped(name: str) -> None:
    """The bank must act on the method and path that the policy has checked."""
    assert classify_request_header(name.encode()) is HeaderRule.DROP
    assert classify_request_header(name.upper().encode()) is HeaderRule.DROP
