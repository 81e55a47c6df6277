"""Responses of token endpoints: tokens and refusals of both generations."""

import json
from email.utils import formatdate
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenError, TokenFailure, kinds
from proxy.sandbox.payloads import BOMB, PAGE
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.grants import Login, Password
from proxy.tokens.token import ASSUMED_LIFETIME, MAX_LIFETIME, TokenKind
from proxy.tokens.token_response import (
    MAX_MESSAGE,
    TokenExpiringError,
    TokenResponse,
    clean_message,
    lifetime_left,
    parse_refresh_token,
    parse_response,
    read_lifetime,
    read_retry_after,
    refusal,
)
from proxy.upstream.bank_errors import BankError

CREDENTIALS = Credentials("shared-key", "s3cret:with colon")
NAMESPACE = "http://schema.intuit.com/fs/common/v2"


def json_response(**fields: Any) -> bytes:
    """Return a JSON response."""
    return json.dumps({"access_token": "abc", "expires_in": "3600"} | fields).encode()


def xml(prefix: str = "", declared: str = "", **fields: str) -> bytes:
    """Return a V1 response with any namespace prefix."""
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
        json_response(expires_in="1799"),
        json_response(expires_in=1799),
        b"\xef\xbb\xbf" + json_response(expires_in=1799),
    ],
)
@pytest.mark.parametrize("kind", list(TokenKind))
def test_responses_are_read_tolerantly(kind: TokenKind, body: bytes) -> None:
    """XML by local name, or JSON; numbers or text."""
    issued = parse_response(kind, 200, body)
    assert (issued.text, issued.lifetime) == ("abc", 1799.0)
    assert parse_refresh_token(200, body) is None


def test_refresh_token_is_read() -> None:
    """With its lifetime, in both generations."""
    for body in (
        json_response(refresh_token="next", refresh_token_expires_in="86399"),
        xml(refresh_token="next", refresh_token_expires_in="86399", di_member_number="1"),
    ):
        assert parse_refresh_token(200, body) == TokenResponse("next", 86399.0)
        assert parse_refresh_token(400, body) is None


@pytest.mark.parametrize("expires_in", ["0", "-1", "3_600"])
def test_refresh_token_beside_an_unusable_token_is_read(expires_in: str) -> None:
    """It is the only one that the bank still takes."""
    body = json_response(refresh_token="next", expires_in=expires_in)
    with pytest.raises(TokenError):
        parse_response(TokenKind.V2, 200, body)
    assert parse_refresh_token(200, body) == TokenResponse("next", MAX_LIFETIME)


@pytest.mark.parametrize("raw", [None, "0", "-1", 0, "abc", "nan", "inf", 1e999, [1]])
def test_refresh_token_without_a_lifetime(raw: object) -> None:
    """It is used for thirty days."""
    body = json_response(refresh_token="next", refresh_token_expires_in=raw)
    assert parse_refresh_token(200, body) == TokenResponse("next", MAX_LIFETIME)


@pytest.mark.parametrize("text", [None, "", 7, "with space", "line\r\nend", "x" * 9000, ["a"]])
def test_unusable_refresh_token_is_ignored(text: object) -> None:
    """The access token is valid."""
    body = json_response(refresh_token=text)
    assert parse_response(TokenKind.V2, 200, body).text == "abc"
    assert parse_refresh_token(200, body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        BOMB,
        b"null",
        b"[]",
        b"{}",
        b'{"access_token": "half',
        json_response(access_token=None),
        json_response(access_token=""),
        json_response(access_token=12345),
        json_response(access_token="a b"),
        json_response(access_token="abc\r\nSet-Cookie: a=b"),
        json_response(access_token="abc\n"),
        json_response(access_token="ab\x00c"),
        json_response(access_token="tökén"),
        json_response(access_token="x" * 8193),
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
def test_200_without_a_usable_token_is_an_error(kind: TokenKind, body: bytes) -> None:
    """A token must be valid in a header."""
    with pytest.raises(TokenError) as error:
        parse_response(kind, 200, body)
    assert error.value.reason is kinds.TOKEN_MALFORMED


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, PAGE, kinds.TOKEN_WRONG_SERVER),
        (302, b"", kinds.TOKEN_WRONG_SERVER),
        (404, b"", kinds.TOKEN_WRONG_SERVER),
        (501, b"<!doctype html><html>", kinds.TOKEN_WRONG_SERVER),
        (404, b'{"error": "not_found"}', kinds.TOKEN_WRONG_SERVER),
        (
            404,
            b'{"fault": {"detail": {"errorcode": "messaging.adaptors.http.flow.NotFound"}}}',
            kinds.TOKEN_WRONG_SERVER,
        ),
        (404, b'{"code": "CMN_90005"}', kinds.TOKEN_BAD_INSTITUTION),
        (404, b'{"error": "invalid_client"}', kinds.TOKEN_BAD_CLIENT),
        (401, b'{"code": "CMN_90018"}', kinds.TOKEN_BAD_USER),
        (401, b"<html>", kinds.TOKEN_BAD_CLIENT),
        (503, b"<html>down", kinds.TOKEN_SERVER),
    ],
)
def test_response_of_another_server(status: int, body: bytes, reason: TokenFailure) -> None:
    """A page or a missing endpoint; the bank's own gateway sends pages with other statuses."""
    with pytest.raises(TokenError) as error:
        parse_response(TokenKind.V2, status, body)
    assert error.value.reason is reason
    if reason is kinds.TOKEN_WRONG_SERVER:
        assert f"It responded {status}" in error.value.detail


@pytest.mark.parametrize("status", [400, 401])
def test_invalid_token_where_none_was_sent_is_of_a_resource(status: int) -> None:
    """A client's own credentials hold no token: the path is not that of the token endpoint."""
    with pytest.raises(TokenError) as error:
        parse_response(TokenKind.V2, status, b'{"code": "CMN_90018"}', has_user=False)
    assert error.value.reason is kinds.TOKEN_WRONG_SERVER


@given(st.text(max_size=60))
def test_accepted_token_is_valid_in_a_header(text: str) -> None:
    """Any other token is refused."""
    try:
        issued = parse_response(TokenKind.V2, 200, json_response(access_token=text))
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
    """Every positive ``expires_in`` has a lifetime, thirty days at most."""
    assert read_lifetime(raw) == seconds


@pytest.mark.parametrize("raw", ["3_600", "1_0", "\u0663\u0666\u0660\u0660", "\uff13", True, False])
def test_number_in_python_syntax_is_no_lifetime(raw: object) -> None:
    """Underscores, non-ASCII digits and booleans."""
    with pytest.raises(TokenError) as error:
        read_lifetime(raw)
    assert error.value.reason is kinds.TOKEN_MALFORMED
    body = json_response(refresh_token="next", refresh_token_expires_in=raw)
    assert parse_refresh_token(200, body) == TokenResponse("next", MAX_LIFETIME)


@pytest.mark.parametrize(
    "token_type", [None, "", "Bearer", "bearer", "BEARER", "BearerToken", "mac", "DPoP", 1, True]
)
def test_only_bearer_tokens_are_accepted(token_type: object) -> None:
    """RFC 6749 section 7.1."""
    body = json_response(token_type=token_type)
    if token_type is None or str(token_type).lower().startswith("bearer") or token_type == "":
        assert parse_response(TokenKind.V2, 200, body).text == "abc"
        return
    with pytest.raises(TokenError) as error:
        parse_response(TokenKind.V2, 200, body)
    assert error.value.reason is kinds.TOKEN_MALFORMED


@pytest.mark.parametrize("raw", ["0", "-1", 0, -1e308, "0.9", "-inf", False])
def test_lifetime_below_a_second_is_an_error(raw: object) -> None:
    """The token has already expired."""
    with pytest.raises(TokenError) as error:
        read_lifetime(raw)
    assert error.value.reason is kinds.TOKEN_MALFORMED


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()))
def test_any_lifetime_is_defined(raw: object) -> None:
    """Between one second and thirty days, or an error."""
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
    """Whole seconds and HTTP dates are used, other values ignored."""
    assert read_retry_after(raw, None, NOW) == seconds


@pytest.mark.parametrize("date", ["soon", "", "Sun, 06 Nov 1994 08:49:37 CET"])
def test_retry_after_date_without_a_usable_date(date: str) -> None:
    """It is compared with the local clock."""
    assert read_retry_after("Sun, 06 Nov 1994 08:51:37 GMT", date, NOW) == 120.0


@given(st.integers(-10_000_000, 10_000_000), st.integers(0, 100_000))
def test_retry_after_date_is_compared_with_the_banks_clock(skew: int, wait: int) -> None:
    """The difference to the response's Date counts."""
    issued = NOW + skew
    retry_after = formatdate(issued + wait, usegmt=True)
    assert read_retry_after(retry_after, formatdate(issued, usegmt=True), NOW) == wait


def test_refusal_has_advice_status_and_code() -> None:
    """Only the operator sees the bank's message."""
    error = refusal(TokenKind.V2, 401, BankError("CMN_90004", "Invalid <script>"), 7.0)
    assert error.operator_detail == f'{error.detail} Its message: "Invalid <script>"'
    assert error.with_retry_after(3.0).operator_detail == error.operator_detail
    assert error.reason is kinds.TOKEN_BAD_CLIENT
    assert (error.code, error.retry_after) == ("CMN_90004", 7.0)
    assert error.reason.cause in error.detail
    assert "401 (CMN_90004)" in error.detail
    assert "script" not in error.detail


def test_refusal_without_a_code() -> None:
    """A V1 401 concerns the institution."""
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
    """It is a refusal, not a malformed token."""
    with pytest.raises(TokenError) as error:
        parse_response(kind, 200, body)
    assert error.value.reason is kinds.TOKEN_BAD_CLIENT
    assert error.value.bank_message == "Invalid client credentials"


def test_message_shows_no_secret() -> None:
    """Even if the server repeats the request."""
    login = Login(CREDENTIALS, Password("juniper", "m&o=o+n%"))
    repeated = f"{login.credentials.basic} {urlencode(login.grant.form())} {login.secrets}"
    message = clean_message(f"cannot read {repeated}", login.secrets)
    assert message.startswith("cannot read ")
    for secret in (*login.secrets, *map(quote_plus, login.secrets)):
        assert secret not in message
    assert clean_message("Bearer gBOL7hP2mQ9xZ4kT1w is unknown") == "Bearer [hidden] is unknown"


@given(st.text())
def test_any_message_is_one_short_printable_line(text: str) -> None:
    """Bounded printable ASCII without the secret."""
    message = clean_message(f"{text}s3cret:x{text}" * 3, ["s3cret:x"])
    assert len(message) <= MAX_MESSAGE
    assert message.isascii()
    assert message.isprintable()
    assert "s3cret:x" not in message


@pytest.mark.parametrize("kind", list(TokenKind))
def test_201_is_a_token(kind: TokenKind) -> None:
    """A success like 200."""
    assert parse_response(kind, 201, json_response()).text == "abc"
    with pytest.raises(TokenError, match="201"):
        parse_response(kind, 201, b"{}")


@pytest.mark.parametrize("status", [202, 204, 302, 400, 401, 403, 404, 429, 500, 503])
def test_other_statuses_are_refusals(status: int) -> None:
    """The body is parsed in either generation."""
    for kind in TokenKind:
        with pytest.raises(TokenError, match=str(status)):
            parse_response(kind, status, json_response(), 3.0)


@pytest.mark.parametrize(
    ("age", "left"),
    [(None, 60), ("0", 60), ("59", 1), ("-1", 60), ("1.5", 60), ("x", 60), ("", 60), ("1_0", 60)],
)
def test_lifetime_in_a_cached_response(age: str | None, left: float) -> None:
    """Without its age, in whole seconds."""
    assert lifetime_left(60, age) == left


@pytest.mark.parametrize(("age", "left"), [("60", 0.5), ("61", 0), ("999999999", 0)])
def test_token_that_expires_in_a_cache(age: str, left: float) -> None:
    """Less than a second is left."""
    with pytest.raises(TokenExpiringError) as error:
        lifetime_left(60.5, age)
    assert error.value.left == left
