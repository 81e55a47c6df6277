"""Errors, and the one response for each."""

import json

import pytest

from proxy.errors import (
    TYPE_PREFIX,
    CallerError,
    ConfigError,
    ProblemResponse,
    ProxyError,
    Source,
    TokenError,
    TokenFailure,
    UpstreamError,
    UpstreamFailure,
    internal_error,
    problem_response,
)

ID = "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01"


def headers(answer: ProblemResponse) -> dict[str, str]:
    """Return the headers of a problem by name."""
    return {name.decode(): value.decode() for name, value in answer.headers}


def test_problem_as_a_caller_reads_it() -> None:
    """It has a stable type, says whose error it is, can be found in the log, is not stored."""
    answer = problem_response(CallerError(400, "bad-host", "One Host."), ID)
    assert answer.status == 400
    assert json.loads(answer.body) == {
        "type": TYPE_PREFIX + "bad-host",
        "title": "Bad Request",
        "status": 400,
        "detail": "One Host.",
        "transactionId": ID,
    }
    assert headers(answer) == {
        "Content-Type": "application/problem+json",
        "x-proxy-error-source": "caller",
        "Cache-Control": "no-store",
    }


@pytest.mark.parametrize(
    ("error", "status", "source"),
    [
        (CallerError(413, "x", "y"), 413, Source.CALLER),
        (TokenError(TokenFailure.TIMEOUT, "y"), 503, Source.TOKEN),
        (UpstreamError(UpstreamFailure.CLOSED, "y"), 502, Source.UPSTREAM),
        (UpstreamError(UpstreamFailure.CONNECT_TIMEOUT, "y"), 504, Source.UPSTREAM),
        (ProxyError("overloaded", "y"), 503, Source.PROXY),
        (internal_error(ValueError("secret")), 500, Source.PROXY),
    ],
)
def test_status_and_source(error: ProxyError, status: int, source: Source) -> None:
    """Each family has its statuses, and its word for whose error it is."""
    answer = problem_response(error, ID)
    assert (answer.status, answer.source) == (status, source)
    assert headers(answer)["x-proxy-error-source"] == source
    assert json.loads(answer.body)["status"] == status


@pytest.mark.parametrize("failure", UpstreamFailure)
def test_upstream_failures(failure: UpstreamFailure) -> None:
    """A slow upstream is 504, a bad one 502; the type names which way it was bad."""
    error = UpstreamError(failure, "no")
    assert error.status == (504 if "timeout" in failure else 502)
    assert error.name == f"upstream-{failure}".replace("_", "-")
    assert not error.is_before_response
    assert UpstreamError(failure, "no", is_before_response=True).is_before_response


@pytest.mark.parametrize("failure", TokenFailure)
def test_token_failures(failure: TokenFailure) -> None:
    """Never a 401: the caller's request was not at fault."""
    error = TokenError(failure, "no", code="CMN_90004")
    assert error.status == 503
    assert error.name == f"token-{failure}".replace("_", "-")
    assert failure.is_refusal == failure.startswith("bad_")
    assert json.loads(problem_response(error, ID).body)["code"] == "CMN_90004"
    assert "code" not in json.loads(problem_response(TokenError(failure, "no"), ID).body)


def test_the_same_token_error_for_another_waiter() -> None:
    """All stays but the time to wait."""
    error = TokenError(TokenFailure.SERVER, "no", code="CMN_90000").with_retry_after(7)
    assert (error.reason, error.detail, error.code) == (TokenFailure.SERVER, "no", "CMN_90000")
    assert headers(problem_response(error, ID))["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, None), (0, "1"), (0.2, "1"), (1, "1"), (1.1, "2"), (60, "60")]
)
def test_retry_after(seconds: float | None, said: str | None) -> None:
    """Whole seconds, rounded up, never none at all."""
    answer = problem_response(ProxyError("busy", "later", retry_after=seconds), ID)
    assert headers(answer).get("Retry-After") == said


def test_method_that_is_not_allowed() -> None:
    """A 405 says which are."""
    allowed = headers(problem_response(CallerError(405, "method", "no"), ID))["Allow"]
    assert allowed == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def test_mistake_of_our_own_says_nothing_of_itself() -> None:
    """What the exception says stays in the log."""
    assert b"secret" not in problem_response(internal_error(ValueError("secret")), ID).body


def test_configuration_error_keeps_every_mistake() -> None:
    """One line each."""
    error = ConfigError(["a: no", "b: no"])
    assert error.errors == ["a: no", "b: no"]
    assert str(error) == "a: no; b: no"
