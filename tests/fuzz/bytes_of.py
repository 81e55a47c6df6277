"""Strategies: valid and invalid messages, random bytes, and ways to split them."""

from hypothesis import strategies as st

HEADERS = [
    *(b"Content-Length: 5", b"Content-Length: 0", b"content-length:5 ", b"Content-Length: +5"),
    *(b"Content-Length: 5, 5", b"Content-Length: 05", b"Content-Length: 0x5", b"Content-Length:"),
    *(b"Content-Length: 99999999999999999999999", b"Content_Length: 5", b"Content-Length : 5"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED", b"Transfer-Encoding: gzip"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity"),
    *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding:"),
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: h2c"),
    *(b"Connection: close, X-A", b"TE: trailers", b"Trailer: X-T", b"Expect: 100-continue"),
    *(b"Host: x", b"Host: a@b", b"Host:", b"X-A: b", b"X-A:", b"X\0: y", b"X: \0", b"X: \x80\xff"),
    *(b" folded", b"\tfolded", b"no colon", b": no name", b"X: a\rb", b"X: a\nb"),
    *(b"Authorization: Bearer x", b"institutionId: 00016", b"transactionId: x", b"Date: now"),
]
GOOD_HEADERS = [
    *(b"X-A: b", b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue"),
    *(b"Connection: X-A", b"Connection: Upgrade\r\nUpgrade: h2c", b"Date: now", b"X-B:  c "),
    *(b"transactionId: 00000000-0000-4000-8000-000000000000", b"Set-Cookie: a", b"Location: /"),
]
ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b""]
BODIES = [
    *(b"", b"hello", b"hell", b"hello!", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    *(b"5;x=y\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX-T: y\r\n\r\n", b"5\nhello\n0\n\n"),
    *(b"5\r\nhello0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n"),
    *(b"5 \r\nhello\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", b"5\r\nhello\r\n00\r\n\r\n"),
    *(b"FFFFFFFFFFFFFFFFF\r\n", b"5\r\nhello\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"),
    *(b"5;\r\nhello\r\n0;\n\r\n\r\n", b"5\r\nhello\r\n0\r\nAuthorization: x\r\n\r\n"),
]
RESPONSE_LINES = [
    *(
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No",
        b"HTTP/1.1 304 Not",
        b"HTTP/1.1 100",
    ),
    *(b"HTTP/1.1 103 Hints", b"HTTP/1.1 101 Switch", b"HTTP/1.1 099 X", b"HTTP/1.1 600 X"),
    *(
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 20 OK",
    ),
    *(
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 200 \x80\xff",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.2 200 OK",
    ),
]
REQUEST_LINES = [
    *(b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"PUT /a?b=c HTTP/1.1", b"HEAD / HTTP/1.0"),
    *(
        b"DELETE /x HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"GET http://a/ HTTP/1.1",
    ),
    *(b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /a b HTTP/1.1", b"GET / HTTP/1.2", b"GET /"),
    *(
        b"GET / HTTP/2.0",
        b"PRI * HTTP/2.0",
        b"get / HTTP/1.1",
        b"GET /\x80\xff HTTP/1.1",
        b"GET /\0 HTTP/1.1",
    ),
    *(b"PATCH /x#f HTTP/1.1", b"GET\t/ HTTP/1.1", b"\r\nGET / HTTP/1.1", b"M-SEARCH * HTTP/1.1"),
]


@st.composite
def messages(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Draw one message: valid, nearly valid, or composed of invalid parts."""
    wild = draw(st.integers(0, 3)) == 0
    text = draw(_wild(lines) if wild else well_formed(lines))
    return draw(_touched(text))


@st.composite
def well_formed(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Draw a valid message, rarely with an invalid first line."""
    head = [draw(st.sampled_from(lines[:6])), b"Host: x"]
    head += draw(st.lists(st.sampled_from(GOOD_HEADERS), max_size=3))
    body = draw(st.binary(max_size=12))
    framing = draw(st.sampled_from(["none", "sized", "chunked"]))
    if framing == "none":
        body = b""
    elif framing == "sized":
        head.append(b"Content-Length: %d" % len(body))
    else:
        head.append(b"Transfer-Encoding: chunked")
        cut = draw(st.integers(0, len(body)))
        blocks = [block for block in (body[:cut], body[cut:]) if block]
        body = b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)
        body += b"0\r\n" + draw(st.sampled_from([b"", b"X-T: y\r\n"])) + b"\r\n"
    return b"\r\n".join([*head, b"", b""]) + body


@st.composite
def _wild(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    head = [draw(st.sampled_from(lines))]
    head += draw(st.lists(st.sampled_from(HEADERS), max_size=5))
    end = draw(st.sampled_from(ENDS))
    return end.join([*head, b"", b""]) + draw(st.sampled_from(BODIES) | st.binary(max_size=8))


@st.composite
def _touched(draw: st.DrawFn, text: bytes) -> bytes:
    """Change a few bytes, rarely."""
    for _ in range(draw(st.sampled_from([0] * 6 + [1, 1, 2]))):
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        put = draw(
            st.sampled_from([b"", b"\0", b"\r", b"\n", b" ", b"\x80", b":", b";", b"0", b"\x0b"])
        )
        text = text[:at] + put + text[at + draw(st.integers(0, 1)) :]
    return text


def streams(lines: list[bytes], most: int = 3) -> st.SearchStrategy[bytes]:
    """Draw several messages in sequence, rarely random bytes."""
    several = st.lists(messages(lines), min_size=1, max_size=most).map(b"".join)
    return several | st.binary(max_size=60)


@st.composite
def cut_up(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Split bytes into pieces."""
    if draw(st.booleans()):
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
