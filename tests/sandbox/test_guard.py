"""Authorization of resource calls."""

import uuid
from dataclasses import replace

import pytest

from proxy.sandbox.guard import generation, path_institution
from tests.sandbox.caller import Clock, SandboxCaller


@pytest.mark.parametrize(
    ("path", "kind", "institution"),
    [
        ("/v1/accounts", "V2", None),
        ("/subscriptions/v1/fis/00016/fiCustomers/1/events", "V1", "00016"),
        ("/fis/00017", "V1", "00017"),
        ("/fis", "V2", None),
        ("/v1/fisx/1", "V2", None),
    ],
)
def test_generation(path: str, kind: str, institution: str | None) -> None:
    """A ``/fis/`` segment makes a path V1, and its institution follows."""
    assert (generation(path), path_institution(path)) == (kind, institution)


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({"Authorization": ""}, "CMN_90018", 401),
        ({"Authorization": "Bearer unheard-of"}, "CMN_90018", 401),
        ({"Authorization": "Basic eDp4"}, "CMN_90018", 401),
        ({"transactionId": ""}, "CMN_90008", 400),
        ({"transactionId": "x"}, "CMN_90008", 400),
        ({"institutionId": "00017"}, "CMN_90006", 400),
    ],
)
async def test_v2_requirements(
    caller: SandboxCaller, headers: dict[str, str], code: str, status: int
) -> None:
    """A valid token of the institution, and a transactionId."""
    response = await caller.call("/v1/accounts", headers=headers)
    assert (response.status, response.code) == (status, code)


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({"Authorization": ""}, "90001", 401),
        ({"di_tid": ""}, "90002", 400),
        ({"di_tid": "x"}, "90002", 400),
    ],
)
async def test_v1_requirements(
    caller: SandboxCaller, headers: dict[str, str], code: str, status: int
) -> None:
    """A valid token, and a di_tid."""
    response = await caller.call("/fis/00016/echo", headers=headers)
    assert (response.status, response.code) == (status, code)


async def test_token_of_the_other_generation_is_refused(caller: SandboxCaller) -> None:
    """In both directions."""
    v1, v2 = await caller.bearer(v1=True), await caller.bearer()
    assert (await caller.call("/fis/00016/echo", bearer=v2)).code == "90001"
    assert (await caller.call("/echo", bearer=v1)).code == "CMN_90018"
    assert (await caller.call("/fis/00016/echo", bearer=v1)).status == 200


async def test_v1_token_of_another_institution_is_refused(caller: SandboxCaller) -> None:
    """By the path's institution."""
    response = await caller.call("/fis/00016/echo", bearer=await caller.bearer("00017", v1=True))
    assert (response.status, response.code) == (403, "90001")


async def test_refresh_token_is_refused(caller: SandboxCaller) -> None:
    """It is not an access token."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    assert (await caller.call("/echo", bearer=pair["refresh_token"])).status == 401


@pytest.mark.parametrize(
    ("spelling", "status", "code"),
    [
        ("CMN_90018", 401, "CMN_90018"),
        ("CMN_90018/400", 400, "CMN_90018"),
        ("ACC_00601", 401, "ACC_00601"),
        ("UXU_10003", 400, "UXU_10003"),
        ("PRMSYS_10004", 400, "PRMSYS_10004"),
        ("access_token_expired", 401, "keymanagement.service.access_token_expired"),
        ("access_token_expired/500", 500, "keymanagement.service.access_token_expired"),
    ],
)
async def test_expired_token_in_every_spelling(
    caller: SandboxCaller, clock: Clock, spelling: str, status: int, code: str
) -> None:
    """As configured."""
    caller.bank.settings = replace(caller.bank.settings, expired_as=spelling)
    bearer = await caller.bearer()
    clock.now += 3599.9
    assert (await caller.call("/v1/accounts", bearer=bearer)).status == 200
    clock.now += 0.1
    response = await caller.call("/v1/accounts", bearer=bearer)
    assert (response.status, response.code) == (status, code)


async def test_v1_token_expires(caller: SandboxCaller, clock: Clock) -> None:
    """After half an hour."""
    caller.bank.settings = replace(caller.bank.settings, v1_expired_as="access_token_expired")
    bearer = await caller.bearer(v1=True)
    clock.now += 1800
    response = await caller.call("/fis/00016/echo", bearer=bearer)
    assert response.code == "keymanagement.service.access_token_expired"


async def test_unknown_token_has_its_spelling(caller: SandboxCaller) -> None:
    """As configured."""
    caller.bank.settings = replace(caller.bank.settings, unknown_as="invalid_access_token")
    response = await caller.call("/echo", bearer="x")
    assert (response.status, response.code) == (401, "keymanagement.service.invalid_access_token")


@pytest.mark.parametrize(
    ("path", "name"), [("/echo", "transactionId"), ("/fis/00016/echo", "di_tid")]
)
async def test_repeated_header_is_refused(caller: SandboxCaller, path: str, name: str) -> None:
    """In any case."""
    bearer = await caller.bearer(v1=name == "di_tid")
    headers = [("Authorization", f"Bearer {bearer}"), (name, str(uuid.uuid4()))]
    assert (await caller.twice(path, *headers)).status == 200
    again = (name.upper(), str(uuid.uuid4()))
    assert (await caller.twice(path, *headers, again)).code in ("CMN_90010", "90002")


async def test_some_paths_need_a_correlation_id(caller: SandboxCaller) -> None:
    """Instead of a transactionId."""
    path = "/v1/customers/880017:accounts"
    assert (await caller.call(path)).code == "CMN_90010"
    headers = {"correlationId": str(uuid.uuid4()), "transactionId": ""}
    assert (await caller.call(path, headers=headers)).status == 200


async def test_new_token_is_refused_until_it_is_active(caller: SandboxCaller) -> None:
    """As by a replica that does not know it yet."""
    clock = caller.bank.clock = Clock()
    caller.bank.settings = replace(caller.bank.settings, activation=2)
    token = (await caller.token()).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await caller.call("/v1/accounts", headers=headers)).code == "CMN_90018"
    clock.now += 2
    assert (await caller.call("/v1/accounts", headers=headers)).status == 200
