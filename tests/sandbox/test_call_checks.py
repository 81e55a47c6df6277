"""Checks that several endpoints share."""

import uuid

import pytest

from proxy.sandbox import Bank, Settings
from proxy.sandbox.call import Call, Reply, is_uuid
from proxy.sandbox.call_checks import (
    FORM,
    RefusedError,
    check_client,
    check_form,
    limited,
    response_id,
    whole_seconds,
)


def call(*headers: tuple[str, str], body: bytes = b"") -> Call:
    """Return a call with these headers."""
    raw = tuple((name.encode(), value.encode()) for name, value in headers)
    return Call("POST", "/", raw, body=body, body_length=len(body))


def test_transaction_id_is_returned() -> None:
    """A valid one, otherwise a new one."""
    asked = str(uuid.uuid4())
    assert response_id(call(("TRANSACTIONID", asked))) == ("transactionId", asked)
    assert is_uuid(response_id(call(("transactionId", "x")))[1])


@pytest.mark.parametrize("content_type", [FORM, FORM.upper(), FORM + "; charset=utf-8"])
def test_form(content_type: str) -> None:
    """The content type may have parameters and any case."""
    check_form(call(("Content-Type", content_type), body=b"a=1"))


@pytest.mark.parametrize(
    "name", ["Authorization", "transactionId", "institutionId", "di_fiid", "di_tid"]
)
def test_repeated_header_is_refused(name: str) -> None:
    """As CMN_90010."""
    twice = call(("Content-Type", FORM), (name, "a"), (name.upper(), "a"))
    with pytest.raises(RefusedError, match="CMN_90010"):
        check_form(twice)


@pytest.mark.parametrize("body", [b"\n", b"\x7f", b"\xc3\xa9", b"a=1\r"])
def test_non_printable_form_is_refused(body: bytes) -> None:
    """As CMN_90017."""
    with pytest.raises(RefusedError, match="CMN_90017"):
        check_form(call(("Content-Type", FORM), body=body))


def test_client_is_authenticated() -> None:
    """By id and secret."""
    bank = Bank(Settings(clients={"a": "b"}))
    assert check_client(call(("Authorization", "Basic YTpi")), bank) == "a"
    with pytest.raises(RefusedError, match="CMN_90004"):
        check_client(call(("Authorization", "Basic YTpj")), bank)


def test_limits_apply_where_configured() -> None:
    """A limit of resources does not count token requests."""
    bank = Bank(Settings(quota=0, limits_on="resource"))
    assert limited("token", bank, "c", "00016") is None
    refusal = limited("resource", bank, "c", "00016")
    assert refusal is not None
    assert refusal.outcome == "CMN_90002"


def test_error_keeps_headers_of_a_response() -> None:
    """If there is one."""
    assert RefusedError(Reply(418)).reply.status == 418


def test_least_expires_in_is_a_setting() -> None:
    """In whole seconds."""
    assert whole_seconds(Bank(Settings(least_expires_in=0)), 0.5) == "0"
    assert whole_seconds(Bank(Settings(least_expires_in=-5)), 0.5) == "0"
