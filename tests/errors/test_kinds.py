"""Errors: the catalogue, and the response of each kind."""

import json
import re
from collections import Counter

import pytest

from proxy.errors import (
    TYPE_PREFIX,
    CallerError,
    ConfigError,
    ErrorKind,
    ProblemResponse,
    ProxyError,
    Source,
    TokenError,
    TokenFailure,
    UpstreamError,
    UpstreamFailure,
    kinds,
    problem_response,
)
from tools.repository import ROOT

ID = "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01"
RESPONSES = [kind for kind in kinds.KINDS if kind.status]

every_kind = pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
every_response = pytest.mark.parametrize("kind", RESPONSES, ids=lambda kind: kind.name)


def error_of(kind: ErrorKind, detail: str = "") -> ProxyError:
    """Return an error of the class that raises this kind."""
    if isinstance(kind, TokenFailure):
        return TokenError(kind, detail)
    if isinstance(kind, UpstreamFailure):
        return UpstreamError(kind, detail)
    return (CallerError if kind.source is Source.CALLER else ProxyError)(kind, detail)


def headers(response: ProblemResponse) -> dict[str, str]:
    """Return the headers of a problem by name."""
    return {name.decode(): value.decode() for name, value in response.headers}


def test_names_are_unique() -> None:
    """They are anchors and metric labels."""
    assert max(Counter(kind.name for kind in kinds.KINDS).values()) == 1


@every_kind
def test_sentences(kind: ErrorKind) -> None:
    """Cause and remedy are sentences, the name is a slug."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.name)
    for text in (kind.cause, kind.remedy):
        assert text[0].isupper()
        assert text.endswith(".")
        assert "  " not in text
    assert kind.page.endswith(f"#{kind.name}")


def test_kinds_differ_in_cause_or_remedy() -> None:
    """No two are equal in both."""
    assert max(Counter(kind.cause for kind in kinds.KINDS).values()) == 1


@every_kind
def test_status_agrees_with_the_source(kind: ErrorKind) -> None:
    """The proxy's failures are never a 401."""
    assert kind.status != 401
    match kind.source:
        case Source.CALLER:
            assert kind.status in {400, 403, 405, 407, 408, 413, 414, 431, 501, 505}
        case Source.TOKEN:
            assert kind.status in {503, 0}
        case Source.UPSTREAM:
            assert kind.status == (504 if kind.name.endswith("-timeout") else 502)
        case _:
            assert kind.status in {500, 503, 508, 0}


def test_refusals_differ_from_failures() -> None:
    """Refused credentials are not retried."""
    assert {kind.label for kind in kinds.TOKEN_FAILURES if kind.is_refusal} == {
        *("bad_client", "bad_institution", "bad_user", "bad_request", "login_needed")
    }


def test_every_kind_is_used() -> None:
    """Somewhere in the program."""
    text = "".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "proxy").rglob("*.py")
        if file.name != "kinds.py"
    )
    used = set(re.findall(r"\bkinds\.([A-Z_]+)\b", text))
    names = {name for name in vars(kinds) if isinstance(getattr(kinds, name), ErrorKind)}
    assert names - used == set()


@every_response
def test_response(kind: ErrorKind) -> None:
    """Type, source, remedy and transaction id."""
    response = problem_response(error_of(kind, "It was so."), ID)
    assert response.status == kind.status
    document = json.loads(response.body)
    assert document.pop("title")
    assert document == {
        "type": TYPE_PREFIX + kind.name,
        "status": kind.status,
        "detail": "It was so.",
        "remedy": kind.remedy,
        "transactionId": ID,
    }
    shown = headers(response)
    assert shown["Content-Type"] == "application/problem+json"
    assert shown["x-proxy-error-source"] == kind.source
    assert shown["Cache-Control"] == "no-store"


@every_response
def test_default_detail_is_the_cause(kind: ErrorKind) -> None:
    """Of an error without a detail."""
    error = error_of(kind)
    assert error.detail == str(error) == kind.cause
    assert error.explained_by is kind


def test_bank_code_of_a_token_error() -> None:
    """It is in the response."""
    error = TokenError(kinds.TOKEN_BAD_CLIENT, code="CMN_90004")
    assert json.loads(problem_response(error, ID).body)["code"] == "CMN_90004"
    assert "code" not in json.loads(problem_response(TokenError(kinds.TOKEN_BAD_CLIENT), ID).body)


def test_token_error_with_a_connection_error() -> None:
    """The name is the token endpoint's, the remedy the connection's."""
    error = TokenError(kinds.TOKEN_UNREACHABLE, failure=kinds.UPSTREAM_TLS_EXPIRED)
    document = json.loads(problem_response(error, ID).body)
    assert document["type"] == TYPE_PREFIX + "token-unreachable"
    assert document["remedy"] == kinds.UPSTREAM_TLS_EXPIRED.remedy
    assert document["status"] == 503


def test_token_error_for_another_waiter() -> None:
    """Only Retry-After differs."""
    first = TokenError(
        kinds.TOKEN_UNREACHABLE, "no", code="CMN_90000", failure=kinds.UPSTREAM_RESOLVE
    )
    error = first.with_retry_after(7)
    assert (error.reason, error.detail, error.code) == (kinds.TOKEN_UNREACHABLE, "no", "CMN_90000")
    assert error.explained_by is kinds.UPSTREAM_RESOLVE
    assert headers(problem_response(error, ID))["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, "1"), (0, "1"), (0.2, "1"), (1, "1"), (1.1, "2"), (60, "60")]
)
def test_retry_after(seconds: float | None, said: str) -> None:
    """Whole seconds, rounded up, at least one; by default the kind's."""
    response = problem_response(ProxyError(kinds.OVERLOADED, retry_after=seconds), ID)
    assert headers(response)["Retry-After"] == said


def test_no_retry_after_where_waiting_does_not_help() -> None:
    """As for an internal error."""
    assert "Retry-After" not in headers(problem_response(ProxyError(kinds.INTERNAL), ID))


def test_method_not_allowed() -> None:
    """A 405 has Allow (RFC 9110 section 15.5.6)."""
    allowed = headers(problem_response(CallerError(kinds.METHOD), ID))["Allow"]
    assert allowed == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def test_proxy_authentication_has_a_challenge() -> None:
    """RFC 9110 section 15.5.8."""
    shown = headers(problem_response(CallerError(kinds.PROXY_AUTHENTICATION), ID))
    assert shown["Proxy-Authenticate"] == 'Basic realm="candescent-proxy"'


def test_connection_closed_before_a_response() -> None:
    """The exception says whether a retry is safe."""
    assert not UpstreamError(kinds.UPSTREAM_CLOSED).is_before_response
    assert UpstreamError(kinds.UPSTREAM_CLOSED, is_before_response=True).is_before_response


def test_configuration_error_has_every_mistake() -> None:
    """One per line."""
    error = ConfigError(["a: no", "b: no"])
    assert error.errors == ["a: no", "b: no"]
    assert str(error) == "a: no; b: no"


def test_operators_read_what_callers_do() -> None:
    """Unless an error has more for them."""
    assert ProxyError(kinds.MEMORY).operator_detail == kinds.MEMORY.cause
    error = CallerError(kinds.HOST_NOT_ALLOWED, given=b"evil.test")
    assert error.operator_detail == f'{error.detail} Given: "evil.test".'
    assert CallerError(kinds.HOST_NOT_ALLOWED).operator_detail == error.detail
