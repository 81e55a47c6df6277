"""Each code of candescent.md: the caller's response, and the token."""

import json

import pytest

from proxy.sandbox import Fault
from proxy.sandbox.codes import error_spec
from tests.candescent.setup import V1_PATH, arrivals_at, bank_fixture

REFUSING = {
    "CMN_90018",
    "CMN_90018/400",
    "ACC_00601",
    "ACC_00601/400",
    "TXN_11002",
    "BIS_10002",
    "DSC_11002",
    "ISR_11002",
    "UXU_10003",
    "PRMSYS_10004",
    "access_token_expired",
    "access_token_expired/500",
    "invalid_access_token",
    "invalid_access_token/500",
}
HARMLESS = {
    *(f"CMN_900{number:02d}" for number in range(22) if number != 18),
    "CMN_90001/401",
    "CMN_90002/429",
    "CMN_90003/429",
    "CMN_90006/403",
    "CMN_90019/400",
    "InvalidAPICallAsNoApiProductMatchFound",
    "QuotaViolation",
    "QuotaViolation/500",
    "SpikeArrestViolation",
    "SpikeArrestViolation/500",
}


@pytest.mark.parametrize("spelling", sorted(REFUSING | HARMLESS))
async def test_code_on_a_resource_call(spelling: str) -> None:
    """The caller gets the bank's response; only a refused token is replaced."""
    message = "Not authorized" if spelling == "CMN_90001/401" else None
    error = error_spec(spelling, message=message)
    fault = Fault("resource", code=spelling, message=message)
    async with bank_fixture(None, fault) as there:
        response = await there.call("/v1/accounts")
        assert (response.status, response.body) == (error.status, error.reply().body)
        assert "x-proxy-error-source" not in response.headers
        refused = spelling in REFUSING
        assert there.bank.counts["arrivals"] == 1 + refused
        assert there.count("token_rejections") == refused
        posted = await there.call("/v1/transfers", "POST", b"{}")
        assert (posted.status, posted.body) == (error.status, error.reply().body)
        assert len(arrivals_at(there.bank, "/v1/transfers")) == 1


@pytest.mark.parametrize("spelling", ["CMN_90018", "UXU_10003", "access_token_expired/500"])
async def test_refused_token_is_replaced(spelling: str) -> None:
    """The caller gets the second, good response."""
    async with bank_fixture(None, Fault("resource", code=spelling, times=1)) as there:
        assert (await there.call("/v1/accounts")).status == 200
        assert [asked.outcome for asked in there.bank.token_requests] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("spelling", "refused"),
    [
        ("90001", True),
        ("90001/403", False),
        ("90001/500", False),
        ("90002", False),
        ("90002/403", False),
        ("90002/500", False),
        ("91000", False),
        ("92000", False),
    ],
)
async def test_v1_code_on_a_resource_call(spelling: str, refused: bool) -> None:
    """Code and status together count."""
    error = error_spec(spelling)
    async with bank_fixture(None, Fault("resource", code=spelling)) as there:
        response = await there.call(V1_PATH.format("00016"))
        assert (response.status, response.body) == (error.status, error.reply().body)
        assert there.bank.counts["arrivals"] == 1 + refused


async def test_long_and_compressed_errors_pass_unchanged() -> None:
    """Although their start is parsed."""
    long = json.dumps({"code": "CMN_90011", "pad": "x" * 200_000}).encode()
    async with bank_fixture(None, Fault("resource", shape=long, status=400)) as there:
        response = await there.call("/v1/accounts")
        assert (response.status, response.body) == (400, long)


TOKEN_CODES = {
    "bad-client": ["CMN_90004", "CMN_90020", "CMN_90021", "CMN_90001/401"],
    "bad-institution": ["CMN_90005", "CMN_90006", "CMN_90006/403"],
    "bad-user": ["CMN_90009", "CMN_90013", "CMN_90014", "CMN_90015", "CMN_90016"],
    # A resource says so of a call without a token.
    "wrong-server": ["CMN_90018", "CMN_90018/400"],
    "bad-request": [
        *("CMN_90007", "CMN_90008", "CMN_90010", "CMN_90011", "CMN_90012", "CMN_90017"),
    ],
    "throttled": [
        *("CMN_90002", "CMN_90002/429", "CMN_90003", "CMN_90003/429"),
        *("QuotaViolation", "QuotaViolation/500", "SpikeArrestViolation/500"),
    ],
    "server": ["CMN_90000", "CMN_90001", "CMN_90019", "CMN_90019/400"],
}
V1_TOKEN_CODES = {
    "bad-institution": ["90001", "90001/403"],
    "throttled": ["90001/500", "91000", "92000", "QuotaViolation", "SpikeArrestViolation/500"],
    "bad-request": ["90002"],
    "server": ["90002/500"],
}


@pytest.mark.parametrize(
    ("where", "path", "spelling", "name"),
    [("token", "/echo", code, name) for name, codes in TOKEN_CODES.items() for code in codes]
    + [
        ("v1token", V1_PATH.format("00016"), code, name)
        for name, codes in V1_TOKEN_CODES.items()
        for code in codes
    ],
)
async def test_code_on_a_token_call(where: str, path: str, spelling: str, name: str) -> None:
    """A 503 with source, the bank's code without its message, and Retry-After."""
    async with bank_fixture(None, Fault(where, code=spelling), ready=False) as there:
        response = await there.call(path)
        assert (response.status, response.error) == (503, f"token token-{name}")
        assert response.json()["code"] == error_spec(spelling).code
        assert int(response.headers["Retry-After"]) >= 1
        assert error_spec(spelling).message not in response.body.decode()
        assert there.bank.counts["arrivals"] == 0
