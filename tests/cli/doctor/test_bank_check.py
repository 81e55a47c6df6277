"""Causes in the bank's responses; test_checks has whole set-ups."""

import pytest

from proxy.cli.doctor.bank_check import call_remedy, call_result, describe, token_remedy
from proxy.cli.doctor.results import Level
from proxy.errors import TokenError, TokenFailure, kinds
from proxy.upstream.bank_client import BankResponse
from proxy.upstream.bank_errors import read_error


@pytest.mark.parametrize(
    ("response", "reason", "cause"),
    [
        (BankResponse(404, b""), kinds.TOKEN_WRONG_SERVER, "token-path"),
        (
            BankResponse(404, b'{"code": "CMN_90007"}'),
            kinds.TOKEN_BAD_REQUEST,
            "token-bad-request",
        ),
        (BankResponse(307, b""), kinds.TOKEN_WRONG_SERVER, "token-redirect"),
        (BankResponse(404, b"<html>no"), kinds.TOKEN_WRONG_SERVER, "token-page"),
        (BankResponse(503, b"<html>down"), kinds.TOKEN_SERVER, "token-server"),
        (BankResponse(200, b"{}"), kinds.TOKEN_MALFORMED, "token-malformed"),
        (None, kinds.TOKEN_TIMEOUT, "token-timeout"),
        (None, kinds.TOKEN_MALFORMED, "token-malformed"),
    ],
)
def test_cause_of_a_missing_token(
    response: BankResponse | None, reason: TokenFailure, cause: str
) -> None:
    """The response takes precedence over the reason."""
    assert token_remedy(response, TokenError(reason)).name == cause


def test_unreachable_token_endpoint() -> None:
    """The connection error has the remedy."""
    error = TokenError(kinds.TOKEN_UNREACHABLE, failure=kinds.UPSTREAM_TLS_EXPIRED)
    remedy = token_remedy(None, error)
    assert (remedy.name, remedy.fix) == ("token-unreachable", kinds.UPSTREAM_TLS_EXPIRED.remedy)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b"{}", ""),
        (204, b"", ""),
        (400, b'{"code": "CMN_90010"}', ""),
        (401, b'{"code": "CMN_90018"}', "call-token-refused"),
        (400, b'{"code": "UXU_10003"}', "call-token-refused"),
        (401, b'{"code": "CMN_90006"}', "call-forbidden"),
        (400, b'{"code": "CMN_90006"}', "call-forbidden"),
        (403, b"", "call-forbidden"),
        (429, b"", "call-throttled"),
        (500, b'{"code": "CMN_90003"}', "call-throttled"),
        (404, b"", "call-path"),
        (500, b"", "call-server"),
    ],
)
def test_cause_of_a_failed_call(status: int, body: bytes, cause: str) -> None:
    """Status and code decide, as in the proxy."""
    remedy = call_remedy(BankResponse(status, body), read_error(body))
    assert (remedy.name if remedy else "") == cause


def test_call_with_missing_parameters() -> None:
    """A 400 of the resource shows that the token was accepted."""
    finding = call_result("GET /x", BankResponse(400, b'{"code": "ACC_00401"}'), 0.1)
    assert (finding.level, finding.cause) == (Level.INFO, "")
    assert "400, ACC_00401" in finding.text


def test_evidence_is_status_and_code_only() -> None:
    """The bank's message is left out."""
    body = b'{"code": "CMN_90004", "message": "key abc is wrong"}'
    assert describe(BankResponse(401, body)) == "401, CMN_90004"
