"""Meaning of the bank's errors: both tables of candescent.md, and hostile bodies."""

import gzip
import json
from collections.abc import Callable
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenFailure, kinds
from proxy.sandbox.payloads import BOMB, PAGE
from proxy.upstream.bank_errors import (
    CANDIDATES,
    MAX_ERROR_BODY,
    BankError,
    classify,
    is_page,
    is_throttling,
    json_object,
    read_error,
    refuses_token,
    xml_fields,
)

NAMESPACE = "http://schema.intuit.com/fs/common/v2"
INNER = (
    "<{p}statusMessage>{message}</{p}statusMessage><{p}errorInfo>"
    "<{p}errorType>USER_ERROR</{p}errorType><{p}errorCode>{code}</{p}errorCode>"
    "<{p}errorMessage>{message}</{p}errorMessage></{p}errorInfo>"
)


def cmn(code: str, message: str) -> bytes:
    """Return an error in the V2 shape."""
    return json.dumps({"code": code, "message": message}).encode()


def apigee(code: str, message: str) -> bytes:
    """Return an error in the gateway's shape."""
    return json.dumps({"fault": {"faultstring": message, "detail": {"errorcode": code}}}).encode()


def v1(code: str, message: str, prefix: str = "", declared: str = f' xmlns="{NAMESPACE}"') -> bytes:
    """Return an error in the V1 shape, with any namespace prefix."""
    inner = INNER.format(p=prefix, code=code, message=message)
    return f"<{prefix}Status{declared}>{inner}</{prefix}Status>".encode()


def v1_json(code: object, message: str) -> bytes:
    """Return an error in the V1 shape as JSON, as some gateways send it."""
    info = {"errorType": "USER_ERROR", "errorCode": code, "errorMessage": message}
    return json.dumps({"statusMessage": message, "errorInfo": info}).encode()


V2_TABLE = [
    ("CMN_90000", "Internal server error", 500, kinds.TOKEN_SERVER),
    ("CMN_90001", "Internal server error - Cross Talk", 500, kinds.TOKEN_SERVER),
    ("CMN_90001", "not authorized", 401, kinds.TOKEN_BAD_CLIENT),
    ("CMN_90001", "Quota limit violation", 500, kinds.TOKEN_THROTTLED),
    ("CMN_90002", "Quota limit violation", 500, kinds.TOKEN_THROTTLED),
    ("CMN_90002", "Spike limit violation", 500, kinds.TOKEN_THROTTLED),
    ("CMN_90002", "Quota limit violation", 429, kinds.TOKEN_THROTTLED),
    ("CMN_90003", "Spike limit violation", 500, kinds.TOKEN_THROTTLED),
    ("CMN_90003", "Spike limit violation", 429, kinds.TOKEN_THROTTLED),
    ("CMN_90004", "Invalid client credentials", 401, kinds.TOKEN_BAD_CLIENT),
    (
        "CMN_90005",
        "Header institutionId is invalid or Form param institution_user_id is invalid",
        400,
        kinds.TOKEN_BAD_INSTITUTION,
    ),
    ("CMN_90006", "Not authorized to access this resource", 400, kinds.TOKEN_BAD_INSTITUTION),
    ("CMN_90006", "Not authorized to access this resource", 403, kinds.TOKEN_BAD_INSTITUTION),
    ("CMN_90007", "Invalid grant type", 400, kinds.TOKEN_BAD_REQUEST),
    ("CMN_90008", "Header transactionId is invalid", 400, kinds.TOKEN_BAD_REQUEST),
    ("CMN_90009", "Access blocked", 400, kinds.TOKEN_BAD_USER),
    ("CMN_90010", "Header is invalid", 400, kinds.TOKEN_BAD_REQUEST),
    ("CMN_90011", "Request is invalid", 400, kinds.TOKEN_BAD_REQUEST),
    ("CMN_90012", "Request is invalid - Scopes", 400, kinds.TOKEN_BAD_REQUEST),
    ("CMN_90013", "Username is invalid", 400, kinds.TOKEN_BAD_USER),
    ("CMN_90014", "Password is invalid", 400, kinds.TOKEN_BAD_USER),
    ("CMN_90015", "Invalid user credentials", 401, kinds.TOKEN_BAD_USER),
    ("CMN_90016", "Invalid user", 400, kinds.TOKEN_BAD_USER),
    ("CMN_90016", "Invalid token", 400, kinds.TOKEN_BAD_USER),
    ("CMN_90017", "Request contains non printable ASCII characters", 400, kinds.TOKEN_BAD_REQUEST),
    ("CMN_90018", "Invalid token", 401, kinds.TOKEN_BAD_USER),
    ("CMN_90018", "Invalid token", 400, kinds.TOKEN_BAD_USER),
    ("CMN_90019", "Error creating token", 500, kinds.TOKEN_SERVER),
    ("CMN_90019", "Error creating token", 400, kinds.TOKEN_SERVER),
    ("CMN_90020", "App cannot authorize itself", 400, kinds.TOKEN_BAD_CLIENT),
    ("CMN_90021", "Invalid client configuration", 400, kinds.TOKEN_BAD_CLIENT),
    ("", "", 401, kinds.TOKEN_BAD_CLIENT),
    ("", "", 400, kinds.TOKEN_BAD_REQUEST),
    ("", "", 403, kinds.TOKEN_BAD_REQUEST),
    ("", "", 429, kinds.TOKEN_THROTTLED),
    ("", "", 502, kinds.TOKEN_SERVER),
    ("", "", 302, kinds.TOKEN_MALFORMED),
    ("", "", 201, kinds.TOKEN_MALFORMED),
]
V1_TABLE = [
    ("90001", "Invalid client credentials", 401, kinds.TOKEN_BAD_CLIENT),
    ("90001", "Not authorized", 401, kinds.TOKEN_BAD_INSTITUTION),
    ("90001", "Invalid user credentials", 401, kinds.TOKEN_BAD_USER),
    (
        *("90001", "Institution is not authorized for this application", 403),
        kinds.TOKEN_BAD_INSTITUTION,
    ),
    ("90001", "Quota limit violation", 500, kinds.TOKEN_THROTTLED),
    ("90001", "Internal server error", 500, kinds.TOKEN_THROTTLED),
    ("90002", "Invalid request", 400, kinds.TOKEN_BAD_REQUEST),
    ("90002", "The password grant is for retail users only", 403, kinds.TOKEN_BAD_USER),
    ("90002", "Internal server error", 500, kinds.TOKEN_SERVER),
    ("91000", "Quota limit violation", 500, kinds.TOKEN_THROTTLED),
    ("91000", "", 500, kinds.TOKEN_THROTTLED),
    ("92000", "Spike limit violation", 500, kinds.TOKEN_THROTTLED),
    ("92000", "", 500, kinds.TOKEN_THROTTLED),
    ("", "", 401, kinds.TOKEN_BAD_INSTITUTION),
]
LIMITS = ["policies.ratelimit.QuotaViolation", "policies.ratelimit.SpikeArrestViolation"]


@pytest.mark.parametrize(("code", "message", "status", "expected"), V2_TABLE)
def test_v2_table(code: str, message: str, status: int, expected: TokenFailure) -> None:
    """Each code of the V2 table has its class, in each status in which it occurs."""
    assert classify(status, read_error(cmn(code, message))) is expected


@pytest.mark.parametrize(("code", "message", "status", "expected"), V1_TABLE)
def test_v1_table(code: str, message: str, status: int, expected: TokenFailure) -> None:
    """Each numeric code has its class, in each status in which it occurs, as XML and JSON."""
    shapes = [v1(code, message), v1_json(code, message)]
    assert {classify(status, read_error(body), v1=True) for body in shapes} == {expected}


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("code", LIMITS)
def test_gateway_limits_throttle(code: str, status: int) -> None:
    """Apigee's quota and spike errors throttle as 429 and 500, on both endpoints."""
    error = read_error(apigee(code, "Rate limit quota violation"))
    assert error.code == code
    assert {classify(status, error, v1=flag) for flag in (False, True)} == {kinds.TOKEN_THROTTLED}


def oauth(code: object, message: str) -> bytes:
    """Return an error in the shape of RFC 6749 section 5.2."""
    return json.dumps({"error": code, "error_description": message}).encode()


def apigee_token(code: object, message: str) -> bytes:
    """Return an error in the shape of Apigee's token endpoint."""
    return json.dumps({"ErrorCode": code, "Error": message}).encode()


@pytest.mark.parametrize("shape", [oauth, apigee_token])
@pytest.mark.parametrize("status", [200, 400, 401])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("invalid_client", kinds.TOKEN_BAD_CLIENT),
        ("InvalidClientIdentifier", kinds.TOKEN_BAD_CLIENT),
        ("oauth.v2.InvalidClientIdentifier", kinds.TOKEN_BAD_CLIENT),
        ("invalid_grant", kinds.TOKEN_BAD_USER),
        ("invalid_request", kinds.TOKEN_BAD_REQUEST),
        ("invalid_scope", kinds.TOKEN_BAD_REQUEST),
        ("unauthorized_client", kinds.TOKEN_BAD_REQUEST),
        ("unsupported_grant_type", kinds.TOKEN_BAD_REQUEST),
        ("server_error", kinds.TOKEN_SERVER),
        ("temporarily_unavailable", kinds.TOKEN_SERVER),
        ("CMN_90004", kinds.TOKEN_BAD_CLIENT),
    ],
)
def test_oauth_and_apigee_errors(
    shape: Callable[[object, str], bytes], status: int, code: str, expected: TokenFailure
) -> None:
    """The codes of RFC 6749 section 5.2 have their class with any status, V1 or V2."""
    error = read_error(shape(code, "what is wrong"))
    assert error == BankError(code, "what is wrong")
    assert {classify(status, error, v1=flag) for flag in (False, True)} == {expected}


def test_server_error_is_not_a_refusal() -> None:
    """A 5xx with an RFC 6749 code is a failure: the credentials were not checked."""
    assert classify(503, read_error(oauth("invalid_request", ""))) is kinds.TOKEN_SERVER


@pytest.mark.parametrize(
    "body",
    [
        oauth("Unauthorized", "no"),
        oauth("a b", "no"),
        oauth(["invalid_client"], "no"),
        oauth({"code": "invalid_client"}, "no"),
        apigee_token(None, "no"),
        b'{"timestamp": 1, "status": 401, "error": "Unauthorized", "message": "no"}',
    ],
)
def test_error_field_that_is_not_a_code(body: bytes) -> None:
    """A phrase or another type in ``error`` is not a code; its message is kept."""
    assert read_error(body) == BankError("", "no")


@pytest.mark.parametrize(
    ("body", "v1_endpoint", "expected"),
    [
        (cmn("CMN_90000", "Internal server error"), False, kinds.TOKEN_SERVER),
        (cmn("CMN_90001", "Internal server error - Cross Talk"), False, kinds.TOKEN_SERVER),
        (cmn("CMN_90002", "Fault"), False, kinds.TOKEN_THROTTLED),
        (cmn("CMN_90004", "Invalid client credentials"), False, kinds.TOKEN_BAD_CLIENT),
        (cmn("CMN_90005", "Header is invalid"), False, kinds.TOKEN_BAD_INSTITUTION),
        (cmn("CMN_90007", "Invalid grant type"), False, kinds.TOKEN_BAD_REQUEST),
        (v1("90001", "Invalid client credentials"), True, kinds.TOKEN_BAD_CLIENT),
        (v1("90001", "Not authorized"), True, kinds.TOKEN_BAD_INSTITUTION),
        (v1("90001", "Quota limit violation"), True, kinds.TOKEN_THROTTLED),
        (v1("90002", "Invalid request"), True, kinds.TOKEN_BAD_REQUEST),
        (v1("91000", "Fault"), True, kinds.TOKEN_THROTTLED),
        (apigee(LIMITS[0], "Fault"), False, kinds.TOKEN_THROTTLED),
        (b'{"message": "hello"}', False, kinds.TOKEN_MALFORMED),
    ],
)
def test_error_with_a_success_status(
    body: bytes, v1_endpoint: bool, expected: TokenFailure
) -> None:
    """It has the class of its code with the documented status."""
    assert classify(200, read_error(body), v1=v1_endpoint) is expected


def test_code_alone_indicates_a_limit() -> None:
    """The message does not matter, and a good response is never a limit."""
    assert all(is_throttling(500, BankError(code, "Fault")) for code in LIMITS)
    assert not is_throttling(200, BankError("CMN_90002", "Quota limit violation"))


REFUSED = [
    ("ACC_00601", "Invalid JWT token", 401),
    ("ACC_00601", "Invalid JWT token", 400),
    ("TXN_11002", "Invalid JWT token", 401),
    ("BIS_10002", "Invalid JWT token", 401),
    ("DSC_11002", "Invalid JWT token", 401),
    ("ISR_11002", "Invalid JWT token", 401),
    ("UXU_10003", "JWT token has expired", 400),
    ("PRMSYS_10004", "Invalid JWT token", 400),
    ("CMN_90018", "Invalid token", 401),
    ("CMN_90018", "Invalid token", 400),
    ("CMN_90016", "Invalid token", 400),
    ("", "", 401),
    ("XYZ_1", "nobody documented this one", 401),
]
REFUSED_BY_GATEWAY = [
    ("keymanagement.service.access_token_expired", "Access Token expired", 401),
    ("keymanagement.service.access_token_expired", "Access Token expired", 500),
    ("keymanagement.service.invalid_access_token", "Invalid Access Token", 401),
    ("keymanagement.service.invalid_access_token", "Invalid Access Token", 500),
]
NOT_CURED = [
    (cmn("CMN_90001", "Not authorized"), 401),
    (cmn("CMN_90004", "Invalid client credentials"), 401),
    (cmn("CMN_90006", "Not authorized to access this resource"), 401),
    (cmn("CMN_90006", "Not authorized to access this resource"), 400),
    (cmn("CMN_90009", "Access blocked"), 401),
    (cmn("CMN_90015", "Invalid user credentials"), 401),
    (cmn("CMN_90002", "Quota limit violation"), 500),
    (cmn("CMN_90016", "Invalid user"), 400),
    (cmn("CMN_90011", "Request is invalid"), 400),
    (cmn("CMN_90000", "Internal server error"), 500),
    (cmn("CMN_90018", "Invalid token"), 403),
    (apigee("keymanagement.service.InvalidAPICallAsNoApiProductMatchFound", "no match"), 401),
    (apigee("policies.ratelimit.QuotaViolation", "Rate limit quota violation"), 429),
    (apigee("policies.ratelimit.SpikeArrestViolation", "Spike arrest"), 500),
    (v1("91000", "Quota limit violation"), 500),
    (PAGE, 500),
    (b"", 400),
]


@pytest.mark.parametrize(("code", "message", "status"), REFUSED)
def test_refused_token_of_the_bank(code: str, message: str, status: int) -> None:
    """A refused token is recognized in every spelling, compressed or not."""
    body = cmn(code, message)
    assert status in CANDIDATES
    assert refuses_token(status, read_error(body))
    assert refuses_token(status, read_error(gzip.compress(body), gzipped=True))


@pytest.mark.parametrize(("code", "message", "status"), REFUSED_BY_GATEWAY)
def test_refused_token_of_the_gateway(code: str, message: str, status: int) -> None:
    """It is recognized in the gateway's shapes, also as a 500."""
    assert refuses_token(status, read_error(apigee(code, message)))


def test_refused_v1_token() -> None:
    """V1 refuses a token with a 401 and a general code."""
    assert refuses_token(401, read_error(v1("90001", "Not authorized")))
    assert not refuses_token(403, read_error(v1("90001", "Not authorized")))


@pytest.mark.parametrize(("body", "status"), NOT_CURED)
def test_other_errors_are_not_a_refused_token(body: bytes, status: int) -> None:
    """Errors that a new token would not cure are not taken for one."""
    assert not refuses_token(status, read_error(body))


@pytest.mark.parametrize(
    "body",
    [
        v1("90002", "Invalid request", "", ""),
        v1("90002", "Invalid request"),
        v1("90002", "Invalid request", "ns2:", f' xmlns:ns2="{NAMESPACE}"'),
        v1("90002", "Invalid request", "a:", ' xmlns:a="urn:another"'),
        b'\n <?xml version="1.0" encoding="UTF-8"?>\n' + v1("90002", "Invalid request"),
        b"\xef\xbb\xbf" + v1("90002", "Invalid request"),
        v1_json("90002", "Invalid request"),
        v1_json(90002, "Invalid request"),
        b"\xef\xbb\xbf " + cmn("90002", "Invalid request").lstrip(),
        b'{"statusMessage": "Invalid request", "errorInfo": {"errorCode": "90002"}}',
        (
            b"<Status><statusMessage>Invalid request</statusMessage><errorInfo>"
            b"<errorCode> 90002 </errorCode></errorInfo></Status>"
        ),
        v1("90002", "Invalid request").decode().encode("utf-16"),
    ],
)
def test_elements_match_by_local_name(body: bytes) -> None:
    """Namespaces, prefixes, byte order marks and numbers make no difference; UTF-16 is not read."""
    expected = BankError() if body[:2] == b"\xff\xfe" else BankError("90002", "Invalid request")
    assert read_error(body) == expected


EXTERNAL = b"""<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<Status><errorInfo><errorCode>90001</errorCode><errorMessage>&x;</errorMessage></errorInfo></Status>"""


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        EXTERNAL,
        EXTERNAL.replace(b"SYSTEM", b"PUBLIC 'p'"),
        b'<!DOCTYPE s SYSTEM "http://127.0.0.1:1/x.dtd"><Status><errorCode>1</errorCode></Status>',
        b"<Status><errorCode>90001</errorCode><errorMessage>&lol;</errorMessage></Status>",
        b"<Status><errorCode>90001</errorCode>",
        b'<?xml version="1.0" encoding="no-such"?><Status><errorCode>1</errorCode></Status>',
        b'<?xml version="1.0" encoding="shift_jis"?><Status><errorCode>1</errorCode></Status>',
        b"<a>" * 80_000,
        b"<",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"code": "CMN_90004", "mess',
        b"[]",
        b'"CMN_90004"',
        b"\x00\xff\xfe",
        b'{"code": ' + b"9" * 5000 + b"}",
        b'{"code": ["CMN_90004"], "message": {"a": 1}}',
        b'{"code": "CMN_90004\\r\\nSet-Cookie: a=b", "message": null}',
        b'{"fault": {"faultstring": 1, "detail": "no"}}',
        b'{"fault": "no", "errorInfo": "no"}',
        PAGE,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_hostile_body_is_an_empty_error(body: bytes) -> None:
    """Entities, deep nesting and truncated or mistyped bodies give no code and no message."""
    assert read_error(body).code == ""
    assert "root:" not in read_error(body).message


def test_deep_nesting_is_parsed_safely() -> None:
    """A body as deep as its limit allows does not crash the parser."""
    deep = b"<a>" * 30_000 + b"<access_token>x</access_token>" + b"</a>" * 30_000
    assert xml_fields(deep) == {"access_token": "x"}


def test_gzip_is_decoded_to_the_limit_only() -> None:
    """A broken body is an empty error."""
    bomb = gzip.compress(b'{"code": "CMN_90018", "pad": "' + b" " * 50_000_000 + b'"}')
    assert read_error(bomb, gzipped=True) == BankError()
    whole = gzip.compress(cmn("CMN_90018", "Invalid token"))
    assert read_error(whole, gzipped=True).code == "CMN_90018"
    assert read_error(whole[:-6], gzipped=True).code == "CMN_90018"
    assert read_error(b"not gzip", gzipped=True) == BankError()
    assert len(whole) < MAX_ERROR_BODY


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.booleans())
def test_no_body_raises(body: bytes, gzipped: bool) -> None:
    """Any bytes are an error with a harmless code."""
    error = read_error(body, gzipped=gzipped)
    assert error.code.isascii()
    assert "\n" not in error.code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                [
                    "fault",
                    "detail",
                    "errorcode",
                    "faultstring",
                    "errorInfo",
                    "errorCode",
                    "code",
                    "error",
                    "error_description",
                    "ErrorCode",
                    "Error",
                ]
            )
            | st.text(),
            inner,
        )
    ),
)


@given(JSON, st.integers(200, 599), st.booleans())
def test_any_json_has_a_class(document: object, status: int, is_v1: bool) -> None:
    """Any JSON has a class and a decision about the token."""
    body = json.dumps(document).encode()
    error = read_error(body)
    assert isinstance(classify(status, error, v1=is_v1), TokenFailure)
    assert isinstance(refuses_token(status, error), bool)
    assert json_object(body) == (document if isinstance(document, dict) else {})


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_xml_text_is_read(text: str) -> None:
    """A message has the text of the XML element, if XML can contain it."""
    read = read_error(v1("90002", escape(text, quote=False)))
    readable = all(char in "\t\n\r" or " " <= char < "\ufffe" or char > "\uffff" for char in text)
    expected = text.replace("\r\n", "\n").replace("\r", "\n").strip() if readable else ""
    assert read.message.strip() == expected


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (b"<!DOCTYPE html>\n<html>", True),
        (b"\n <HTML lang=en>", True),
        (b"<token><access_token>x</access_token></token>", False),
        (b'<?xml version="1.0"?><Status xmlns="http://x"/>', False),
        (b'{"message": "<html>"}', False),
        (b"", False),
    ],
)
def test_web_page_is_recognized(body: bytes, page: bool) -> None:
    """It differs from the bank's XML and JSON."""
    assert is_page(body) is page
