"""Responses of token endpoints: tokens and refusals of both generations."""

import json
from email.utils import formatdate
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenError, kinds
from proxy.sandbox.payloads import BOMB, PAGE
from proxy.tokens.grants import Credentials, Login, Password
from proxy.tokens.token import ASSUMED_LIFETIME, MAX_LIFETIME, TokenKind
from proxy.tokens.token_response import (
    MAX_MESSAGE,
    clean_message,
    parse_response,
    read_lifetime,
    read_retry_after,
    refusal,
)
from proxy.upstream.bank_errors import BankError

CREDENTIALS = Credentials("shared-key", "s3cret:with colon")
NAMESPACE = "http://schema.intuit.com/fs/common/v2"


def answer(**fields: Any) -> bytes:
    """A JSON answer."""
    return json.dumps({"access_token": "abc", "expires_in": "3600"} | fields).encode()


def xml(prefix: str = "", declared: str = "", **fields: str) -> bytes:
    """A V1 answer, under any prefix."""
    every = {"di_fiid": "00016", "access_token": "abc", "expires_in": "1799"} | fields
    inner = "".join(f"<{prefix}{k}>{v}</{prefix}{k}>" for k, v in every.items())
    return f"<{prefix}token{declared}>{inner}</{prefix}token>".encode()


@pytest.mark.parametrize(
    "body",
    [
        xml(),
        xml(declared=f' xmlns="{NAMESPACE}"'),
        xml("ns2:", f' xmlns:ns2="{NAMESPACE}"'),
        xml("x:", ' xmlns:x="urn:other"'),
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + xml(),
        b"\r\n" + xml(),
        b"\xef\xbb\xbf" + xml(),
        xml(access_token="<![CDATA[abc]]>"),
        xml(access_token="\n  abc\n"),
        answer(expires_in="1799"),
        answer(expires_in=1799),
        b"\xef\xbb\xbf" + answer(expires_in=1799),
    ],
)
@pytest.mark.parametrize("kind", list(TokenKind))
def test_answers_are_read_tolerantly(kind: TokenKind, body: bytes) -> None:
    """V1 in every namespace and in JSON, V2 too: by local name, with a number or a text."""
    issued = parse_response(kind, 200, body)
    assert (issued.text, issued.lifetime, issued.refresh_token) == ("abc", 1799.0, "")


def test_refresh_token_is_read() -> None:
    """A password answer brings the refresh token and its lifetime, in both generations."""
    for body in (
        answer(refresh_token="next", refresh_token_expires_in="86399"),
        xml(refresh_token="next", refresh_token_expires_in="86399", di_member_number="1"),
    ):
        issued = parse_response(TokenKind.V2, 200, body)
        assert (issued.refresh_token, issued.refresh_lifetime) == ("next", 86399.0)


@pytest.mark.parametrize("raw", [None, "0", "-1", 0, "abc", "nan", "inf", 1e999, [1]])
def test_refresh_token_without_an_end(raw: object) -> None:
    """A refresh token of no or no sensible lifetime is tried for thirty days."""
    issued = parse_response(
        TokenKind.V2, 200, answer(refresh_token="next", refresh_token_expires_in=raw)
    )
    assert issued.refresh_lifetime == MAX_LIFETIME


@pytest.mark.parametrize("proof", [None, "", 7, "with space", "line\r\nend", "x" * 9000, ["a"]])
def test_unusable_refresh_token_is_none(proof: object) -> None:
    """What could not be a refresh token is left out; the access token is good."""
    assert parse_response(TokenKind.V2, 200, answer(refresh_token=proof)).refresh_token == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        PAGE,
        BOMB,
        b"null",
        b"[]",
        b"{}",
        b'{"access_token": "half',
        answer(access_token=None),
        answer(access_token=""),
        answer(access_token=12345),
        answer(access_token="a b"),
        answer(access_token="abc\r\nSet-Cookie: a=b"),
        answer(access_token="abc\n"),
        answer(access_token="ab\x00c"),
        answer(access_token="tökén"),
        answer(access_token="x" * 8193),
        xml(access_token=""),
        xml(access_token="a&#13;&#10;b"),
        xml(access_token="<a>x</a>"),
        b"<token><expires_in>1799</expires_in></token>",
        b"<token><access_token>abc</access_token>",
        b'<!DOCTYPE t SYSTEM "file:///etc/passwd"><token><access_token>abc</access_token></token>',
        b"<" * 200_000,
    ],
    ids=lambda body: repr(body[:40]),
)
@pytest.mark.parametrize("kind", list(TokenKind))
def test_200_without_a_usable_token(kind: TokenKind, body: bytes) -> None:
    """A token that could not stand in a header is an error, never injected."""
    with pytest.raises(TokenError) as error:
        parse_response(kind, 200, body)
    assert error.value.reason is kinds.TOKEN_MALFORMED


@given(st.text(max_size=60))
def test_a_token_taken_can_stand_in_a_header(text: str) -> None:
    """Whatever the bank sends as a token: it is refused, or it is visible ASCII."""
    try:
        issued = parse_response(TokenKind.V2, 200, answer(access_token=text))
    except TokenError:
        return
    assert issued.text == text
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("2591999", 2_591_999),
        ("3600", 3600),
        (3600, 3600),
        (1799.5, 1799.5),
        (" 60 ", 60),
        ("\n1799\n", 1799),
        ("3.6e3", 3600),
        ("3600s", ASSUMED_LIFETIME),
        ("1", 1),
        (None, ASSUMED_LIFETIME),
        ("", ASSUMED_LIFETIME),
        ("abc", ASSUMED_LIFETIME),
        ("nan", ASSUMED_LIFETIME),
        ([], ASSUMED_LIFETIME),
        ({}, ASSUMED_LIFETIME),
        (10**400, ASSUMED_LIFETIME),
        ("1e308", MAX_LIFETIME),
        ("inf", MAX_LIFETIME),
        (99_999_999, MAX_LIFETIME),
    ],
)
def test_lifetimes(raw: object, seconds: float) -> None:
    """Every ``expires_in`` that is not death has a defined lifetime, thirty days at most."""
    assert read_lifetime(raw) == seconds


@pytest.mark.parametrize("raw", ["3_600", "1_0", "\u0663\u0666\u0660\u0660", "\uff13", True, False])
def test_number_that_only_python_reads(raw: object) -> None:
    """Underscores, digits beyond ASCII and booleans are no lifetime, of either token."""
    with pytest.raises(TokenError) as error:
        read_lifetime(raw)
    assert error.value.reason is kinds.TOKEN_MALFORMED
    issued = parse_response(
        TokenKind.V2, 200, answer(refresh_token="next", refresh_token_expires_in=raw)
    )
    assert issued.refresh_lifetime == MAX_LIFETIME


@pytest.mark.parametrize(
    "token_type", [None, "", "Bearer", "bearer", "BEARER", "BearerToken", "mac", "DPoP", 1, True]
)
def test_only_bearer_tokens_are_taken(token_type: object) -> None:
    """The proxy sends bearer tokens; one that needs a signature is none (RFC 6749 section 7.1)."""
    body = answer(token_type=token_type)
    if token_type is None or str(token_type).lower().startswith("bearer") or token_type == "":
        assert parse_response(TokenKind.V2, 200, body).text == "abc"
        return
    with pytest.raises(TokenError) as error:
        parse_response(TokenKind.V2, 200, body)
    assert error.value.reason is kinds.TOKEN_MALFORMED


@pytest.mark.parametrize("raw", ["0", "-1", 0, -1e308, "0.9", "-inf", False])
def test_dead_on_arrival(raw: object) -> None:
    """A token that lives less than a second is none."""
    with pytest.raises(TokenError) as error:
        read_lifetime(raw)
    assert error.value.reason is kinds.TOKEN_MALFORMED


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()))
def test_any_lifetime_is_defined(raw: object) -> None:
    """Whatever stands there: between one second and thirty days, or an error."""
    try:
        seconds = read_lifetime(raw)
    except TokenError:
        seconds = 1.0
    assert 1 <= seconds <= MAX_LIFETIME


NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7."""


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("9" * 9, 999_999_999.0),
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120.0),
        ("Sunday, 06-Nov-94 08:51:37 GMT", 120.0),
        ("Sun Nov  6 08:51:37 1994", 120.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
        ("9" * 10, None),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("1e9", None),
        ("\u0663", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:51:37 +0200", None),
        ("Sun, 06 Nov 1994 25:51:37 GMT", None),
        ("Sun, 31 Feb 1994 08:51:37 GMT", None),
        ("Sun, 06 Nov 1994", None),
        ("06 Nov 1994 08:51:37 GMT", None),
    ],
)
def test_retry_after(raw: str | None, seconds: float | None) -> None:
    """Whole seconds and HTTP dates are honoured; anything else gives nothing to honour."""
    assert read_retry_after(raw, None, NOW) == seconds


@pytest.mark.parametrize("date", ["soon", "", "Sun, 06 Nov 1994 08:49:37 CET"])
def test_retry_after_date_without_a_usable_date(date: str) -> None:
    """A ``Date`` that is none leaves our clock to compare with."""
    assert read_retry_after("Sun, 06 Nov 1994 08:51:37 GMT", date, NOW) == 120.0


@given(st.integers(-10_000_000, 10_000_000), st.integers(0, 100_000))
def test_retry_after_date_is_compared_with_the_banks_clock(skew: int, wait: int) -> None:
    """However far apart the clocks are, a date means the time from the response's own."""
    issued = NOW + skew
    retry_after = formatdate(issued + wait, usegmt=True)
    assert read_retry_after(retry_after, formatdate(issued, usegmt=True), NOW) == wait


def test_refusal_says_what_to_do_and_what_the_bank_said() -> None:
    """The caller reads advice, status and code; the operator the bank's own text as well."""
    error = refusal(TokenKind.V2, 401, BankError("CMN_90004", "Invalid <script>"), 7.0)
    assert error.operator_detail == f'{error.detail} Its message: "Invalid <script>"'
    assert error.with_retry_after(3.0).operator_detail == error.operator_detail
    assert error.reason is kinds.TOKEN_BAD_CLIENT
    assert (error.code, error.retry_after) == ("CMN_90004", 7.0)
    assert error.reason.cause in error.detail
    assert "401 (CMN_90004)" in error.detail
    assert "script" not in error.detail


def test_refusal_without_a_code() -> None:
    """Without a code there is none to tell, and a V1 401 means the institution."""
    error = refusal(TokenKind.V1, 401, BankError())
    assert error.reason is kinds.TOKEN_BAD_INSTITUTION
    assert error.code is None
    assert error.detail.endswith("The bank said 401.")


@pytest.mark.parametrize("kind", list(TokenKind))
@pytest.mark.parametrize(
    "body",
    [
        b'{"code": "CMN_90004", "message": "Invalid client credentials"}',
        b'{"error": "invalid_client", "error_description": "Invalid client credentials"}',
        b'{"ErrorCode": "invalid_client", "Error": "Invalid client credentials"}',
        (
            b'{"fault": {"faultstring": "Invalid client credentials", '
            b'"detail": {"errorcode": "oauth.v2.InvalidClientIdentifier"}}}'
        ),
        (
            b"<Status><errorInfo><errorCode>CMN_90004</errorCode>"
            b"<errorMessage>Invalid client credentials</errorMessage></errorInfo></Status>"
        ),
    ],
)
def test_error_with_status_200(kind: TokenKind, body: bytes) -> None:
    """An error in a 200 is a refusal, remembered as one, and not a malformed token."""
    with pytest.raises(TokenError) as error:
        parse_response(kind, 200, body)
    assert error.value.reason is kinds.TOKEN_BAD_CLIENT
    assert error.value.bank_message == "Invalid client credentials"


def test_message_shows_no_secret() -> None:
    """Servers that repeat the request do not make the log show password, secret or token."""
    login = Login(CREDENTIALS, Password("juniper", "m&o=o+n%"))
    repeated = f"{login.credentials.basic} {urlencode(login.grant.form())} {login.secrets}"
    message = clean_message(f"cannot read {repeated}", login.secrets)
    assert message.startswith("cannot read ")
    for secret in (*login.secrets, *map(quote_plus, login.secrets)):
        assert secret not in message
    assert clean_message("Bearer gBOL7hP2mQ9xZ4kT1w is unknown") == "Bearer [hidden] is unknown"


@given(st.text())
def test_any_message_is_one_short_printable_line(text: str) -> None:
    """Whatever the bank writes: bounded, printable ASCII, and without the secret."""
    message = clean_message(f"{text}s3cret:x{text}" * 3, ["s3cret:x"])
    assert len(message) <= MAX_MESSAGE
    assert message.isascii()
    assert message.isprintable()
    assert "s3cret:x" not in message


@pytest.mark.parametrize("kind", list(TokenKind))
def test_created_is_a_token(kind: TokenKind) -> None:
    """A token endpoint that responds 201 has given a token."""
    assert parse_response(kind, 201, answer()).text == "abc"
    with pytest.raises(TokenError, match="201"):
        parse_response(kind, 201, b"{}")


@pytest.mark.parametrize("status", [202, 204, 302, 400, 401, 403, 404, 429, 500, 503])
def test_every_status_is_refused_in_words(status: int) -> None:
    """An answer other than 200 is a refusal that reads the body, in either kind."""
    for kind in TokenKind:
        with pytest.raises(TokenError, match=str(status)):
            parse_response(kind, status, answer(), 3.0)
