"""Decisions about input of others: headers, routes, errors, tokens, configuration."""

import contextlib
import json
import re
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import unquote_to_bytes, urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.config import loader
from proxy.config.examples import known_paths
from proxy.errors import CallerError, ConfigError, TokenError, TokenFailure, UpstreamError
from proxy.forwarding.headers import CallerHeaders, request_head
from proxy.forwarding.routing import Router
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.tokens.token import MAX_LIFETIME, TokenKind
from proxy.tokens.token_response import parse_refresh_token, parse_response, read_retry_after
from proxy.upstream.bank_errors import MAX_ERROR_BODY, classify, read_error, refuses_token
from proxy.upstream.tunnel import check_response
from tests.fuzz import drive, reference
from tests.fuzz.bytes_of import BODIES, HEADERS, RESPONSE_LINES, streams
from tests.support.mounted_files import write

OURS = (b"Authorization: Bearer ours\r\n", b"institutionId: 00016\r\n", b"transactionId: t\r\n")
OWNED = re.compile(rb"(?i)authorization|institution[-_]?id|transaction[-_]?id|di[-_]?(fiid|tid)")

NAMES = st.sampled_from(
    [
        *(
            b"Authorization",
            b"AUTHORIZATION",
            b"Author-ization",
            b"institution_id",
            b"Institutionid",
        ),
        *(b"transaction-id", b"di_fiid", b"DI-TID", b"di_tid", b"X-A", b"x_a", b"Cookie", b"TE"),
        *(b"Connection", b"Keep-Alive", b"Upgrade", b"Host", b"Content-Length", b"Trailer"),
        *(b"Transfer-Encoding", b"Expect", b"Proxy-Authorization", b"Proxy-Connection"),
    ]
)
VALUES = st.sampled_from(
    [
        *(
            b"",
            b"x",
            b"5",
            b"0",
            b"chunked",
            b"close, X-A",
            b"authorization, institutionid",
            b"h2c",
        ),
        *(b"00016", b"100-continue", b"a.test", b"a@b", b"a:99999", b"Bearer stolen", b"gzip"),
    ]
) | st.binary(max_size=10).map(lambda raw: re.sub(rb"[^\t\x20-\x7e\x80-\xff]", b"", raw))
"""What the parser lets through: no control bytes."""


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_outbound_request_is_one_message(raw: list[tuple[bytes, bytes]]) -> None:
    """One framing, and the proxy's credentials once and last."""
    try:
        caller = CallerHeaders([(b"Host", b"x"), *raw])
    except CallerError:
        return
    head = request_head("POST", b"/x", b"bank.test", caller, OURS)
    body = b"0\r\n\r\n" if caller.chunked else b"x" * min(caller.length or 0, 100)
    try:
        read = reference.request(head + body)
    except reference.CutError:
        assert (caller.length or 0) > 100
        return
    owned = [name for name, _ in read.headers if OWNED.fullmatch(name)]
    assert owned == [b"Authorization", b"institutionId", b"transactionId"]
    assert [value for name, value in read.headers if name.lower() == b"host"] == [b"bank.test"]
    assert (read.body, read.rest) == (b"" if caller.chunked else body, b"")
    gone = {b"connection", b"te", b"trailer", b"upgrade", b"keep-alive", b"proxy-authorization"}
    assert gone.isdisjoint(name.lower() for name, _ in read.headers)


RESERVED = ("oauth2/v1/token", "oauth2/v1/revoke", "v1/oauth/token", "v1/auth-code")


@st.composite
def _disguised(draw: st.DrawFn, part: bytes) -> bytes:
    swaps = draw(st.lists(st.booleans(), min_size=len(part), max_size=len(part)))
    swapped = part.swapcase()
    part = bytes(swapped[at] if swap else part[at] for at, swap in enumerate(swaps))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(part) - 1))
        part = part[:at] + b"%%%02x" % part[at] + part[at + 1 :]
    return part + draw(st.sampled_from([b"", b"", b";a=b", b";"]))


BETWEEN = st.sampled_from(
    [b"/", b"//", b"/./", b"/x/../", b"\\", b"/%2e/", b"%2f", b"/;/", b"/x/%2e%2e/", b"%5c"]
)


@st.composite
def disguises(draw: st.DrawFn) -> bytes:
    """Draw a spelling of a token endpoint that some server accepts."""
    path = draw(st.sampled_from([b"/", b"//", b"/a/../", b"/%2e%2e/", b"/x/"]))
    first, *others = draw(st.sampled_from(RESERVED)).encode().split(b"/")
    path += draw(_disguised(first))
    for part in others:
        path += draw(BETWEEN) + draw(_disguised(part))
    return path + draw(st.sampled_from([b"", b"/", b"?x", b"/more", b"%3fx", b"#f"]))


@given(disguises(), st.sampled_from(["", "/digitalbanking/stage"]))
def test_no_spelling_reaches_a_token_endpoint(target: bytes, base: str) -> None:
    """However the path is written."""
    with contextlib.suppress(CallerError):
        route = Router(base).route("POST", target)
        raise AssertionError(f"{target!r} was let through to {route.target!r}")


@given(st.binary(max_size=60), st.sampled_from(["", "/digitalbanking"]))
@example(b"/digitalbanking", "/digitalbanking")
def test_any_target_is_forwarded_unchanged_or_refused(target: bytes, base: str) -> None:
    """Behind the base path, once."""
    try:
        route = Router(base).route("GET", target)
    except CallerError:
        return
    assert route.target in (target, base.encode() + target)
    assert (
        route.target.startswith(base.encode() + b"/")
        or route.target == base.encode()
        or (route.target.startswith(base.encode() + b"?"))
    )
    assert b"oauth2/v1/token" not in unquote_to_bytes(route.target.partition(b"?")[0]).lower()


PIECES = st.sampled_from(
    [
        *(b"http", b"https", b"HTTP", b":", b"/", b"//", b"\\", b"@", b"?", b"#", b"%40", b"%2f"),
        *(b"bank.test", b"BANK.test", b"evil.test", b".", b":80", b":443", b":8080", b"127.0.0.1"),
        *(b"[::1]", b"localhost", b"me", b"x", b"http://bank.test", b"http://localhost:8080"),
    ]
)


@given(st.lists(PIECES, max_size=9).map(b"".join))
def test_absolute_target_has_one_reading(target: bytes) -> None:
    """No URL parser finds another host or a user in an accepted one."""
    names, here = UrlRewriter(urlsplit("https://bank.test")), ("127.0.0.1", 8080)
    try:
        form, origin = names.to_origin_form(target, here)
    except CallerError:
        return
    assert form.startswith(b"/")
    assert target in (origin + form, origin + form[1:]) or target.lower() == (origin + form).lower()
    for text in (target.decode(), target.decode().replace("\\", "/")):
        url = urlsplit(text)
        assert (url.username, url.password) == (None, None)
        ends = {("bank.test", None), ("bank.test", 443), ("localhost", 8080), ("127.0.0.1", 8080)}
        ends |= {("bank.test", 80)} if url.scheme == "http" else set()
        assert (url.hostname, url.port) in ends


WORDS = st.sampled_from(
    [
        *("code", "message", "fault", "detail", "errorcode", "faultstring", "errorInfo"),
        *("errorCode", "access_token", "expires_in", "refresh_token", "token_type", "x"),
    ]
)
JSONS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = (
    JSONS.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=50)
    | st.sampled_from(
        [
            b"<token><access_token>a</access_token><expires_in>5</expires_in></token>",
            b"<a:token xmlns:a='b'><a:access_token>x\ny</a:access_token></a:token>",
            b"<Status><errorInfo><errorCode>90002</errorCode></errorInfo></Status>",
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            b"\xef\xbb\xbf{}",
            b"<" * 2000,
            b"[" * 5000,
            b"<a>" * 3000,
            b'{"expires_in": 1e999, "access_token": "a"}',
            b'{"access_token": "\\u0000", "expires_in": "5"}',
        ]
    )
)


@given(DOCUMENTS, st.integers(100, 599), st.booleans())
def test_any_error_of_the_bank_is_bounded(body: bytes, status: int, gzipped: bool) -> None:
    """Every status has a class."""
    error = read_error(body[:MAX_ERROR_BODY], gzipped=gzipped)
    assert len(error.code) <= 500
    for v1 in (False, True):
        assert isinstance(classify(status, error, v1=v1), TokenFailure)
    assert refuses_token(status, error) in (True, False)


@given(DOCUMENTS, st.sampled_from([200, 400, 401, 500]), st.sampled_from(TokenKind))
def test_any_token_response_is_a_token_or_an_error(
    body: bytes, status: int, kind: TokenKind
) -> None:
    """A token valid in a header with a lifetime, or a TokenError."""
    if (refresh_token := parse_refresh_token(status, body)) is not None:
        assert re.fullmatch(r"[\x21-\x7e]+", refresh_token.text)
        assert 0 < refresh_token.lifetime <= MAX_LIFETIME
    try:
        issued = parse_response(kind, status, body)
    except TokenError:
        return
    assert status == 200
    assert re.fullmatch(r"[\x21-\x7e]+", issued.text)
    assert 1 <= issued.lifetime <= MAX_LIFETIME


@given(st.text(max_size=30) | st.none(), st.text(max_size=30) | st.none(), st.floats(0, 4e9))
def test_any_retry_after_is_a_number_or_none(raw: str | None, date: str | None, now: float) -> None:
    """Never negative or infinite."""
    seconds = read_retry_after(raw, date, now)
    assert seconds is None or 0 <= seconds < 1e10


SETTINGS = st.sampled_from(sorted("__".join(path) for path in known_paths()))


@given(st.text(max_size=80) | st.dictionaries(SETTINGS, st.text(max_size=8)).map(str))
def test_any_text_as_a_configuration(text: str) -> None:
    """A configuration, or its errors."""
    with NamedTemporaryFile() as file:
        write(Path(file.name), text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(ConfigError):
            loader.load(Path(file.name), {}, {})


@given(st.dictionaries(SETTINGS.map(str.upper), st.text(max_size=12), max_size=5))
def test_any_environment_as_a_configuration(variables: dict[str, str]) -> None:
    """A configuration, or its errors."""
    environ = {f"CANDESCENT_{name}": text for name, text in variables.items()}
    with contextlib.suppress(ConfigError):
        loader.load(None, environ, {})


@given(streams(RESPONSE_LINES, most=1))
def test_any_response_of_an_outbound_proxy(head: bytes) -> None:
    """Connected or refused."""
    with contextlib.suppress(UpstreamError):
        check_response(head)
        assert re.match(rb"HTTP/1\.[01] 2\d\d", head)
        assert head.endswith(b"\r\n\r\n")


@given(st.lists(st.sampled_from(HEADERS), max_size=6), st.sampled_from(BODIES))
def test_parsed_request_can_be_forwarded(headers: list[bytes], body: bytes) -> None:
    """As one request with the same body."""
    sent = b"\r\n".join([b"POST /x HTTP/1.1", b"Host: x", *headers, b"", b""]) + body
    for _, target, raw, recorded in drive.caller([sent]).requests[:1]:
        caller = CallerHeaders(raw)
        head = request_head("POST", target, b"bank", caller, OURS)
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(recorded), recorded) if recorded else b"0\r\n\r\n"
        out = reference.request(head + (framed if caller.chunked else recorded))
        assert (out.body, out.rest) == (recorded, b"")
