"""The table of errors."""

import json

import pytest

from proxy.sandbox.codes import CMN, error_spec, refuse, spellings
from tests.sandbox.caller import SandboxCaller


def test_codes_are_the_documented_ones() -> None:
    """Twenty-two, with these statuses other than 400."""
    assert len(CMN) == 22
    assert {code: status for code, (status, _) in CMN.items() if status != 400} == {
        "CMN_90000": 500,
        "CMN_90001": 500,
        "CMN_90002": 500,
        "CMN_90003": 500,
        "CMN_90004": 401,
        "CMN_90015": 401,
        "CMN_90018": 401,
        "CMN_90019": 500,
    }


@pytest.mark.parametrize("spelling", spellings())
async def test_every_code_on_demand(caller: SandboxCaller, spelling: str) -> None:
    """``/status/{code}`` has its status and shape."""
    response = await caller.call(f"/status/{spelling}")
    expected = error_spec(spelling)
    assert (response.status, response.code) == (expected.status, expected.code)


@pytest.mark.parametrize(
    ("spelling", "status"),
    [("CMN_90018/400", 400), ("access_token_expired/500", 500), ("90002/403", 403)],
)
async def test_other_status(caller: SandboxCaller, spelling: str, status: int) -> None:
    """It may follow a slash."""
    response = await caller.call(f"/status/{spelling}")
    assert response.status == status
    assert spelling.partition("/")[0] in response.code


@pytest.mark.parametrize("spelling", ["CMN_1", "", "CMN_90000/x", "CMN_90000/99", "CMN_90000/600"])
def test_unknown_code_is_an_error(spelling: str) -> None:
    """A ``ValueError`` names it."""
    with pytest.raises(ValueError, match=r"unknown error code|is not a status"):
        error_spec(spelling)


def test_shapes() -> None:
    """Any code in any of three shapes."""
    assert json.loads(_body("CMN_90002")) == {
        "code": "CMN_90002",
        "message": "Quota limit violation",
    }
    assert json.loads(_body("access_token_expired")) == {
        "fault": {
            "faultstring": "Access Token expired",
            "detail": {"errorcode": "keymanagement.service.access_token_expired"},
        }
    }
    assert _body("91000") == (
        b'<Status xmlns="http://schema.intuit.com/fs/common/v2">'
        b"<statusMessage>Quota limit violation</statusMessage><errorInfo>"
        b"<errorType>SYSTEM_ERROR</errorType><errorCode>91000</errorCode>"
        b"<errorMessage>Quota limit violation</errorMessage></errorInfo></Status>"
    )


def test_v1_shape_of_a_common_code() -> None:
    """Its number, with escaped text."""
    reply = error_spec("CMN_90002", shape="v1", message="a<b").reply()
    assert b"<errorCode>90002</errorCode><errorMessage>a&lt;b</errorMessage>" in _bytes(reply.body)


def _body(spelling: str) -> bytes:
    return _bytes(refuse(spelling).body)


def _bytes(body: object) -> bytes:
    assert isinstance(body, bytes)
    return body
