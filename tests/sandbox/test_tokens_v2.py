"""V2 tokens: every grant, every refusal, revocation."""

import uuid
from dataclasses import replace

import pytest

from proxy.sandbox.call import is_uuid
from tests.sandbox.caller import Clock, SandboxCaller


async def test_client_credentials(caller: SandboxCaller) -> None:
    """``expires_in`` is text; the transactionId is returned."""
    transaction = str(uuid.uuid4())
    response = await caller.token(headers={"transactionId": transaction})
    assert (response.status, response.headers["transactionId"]) == (200, transaction)
    fields = response.json()
    assert fields.keys() == {"access_token", "expires_in", "token_type"}
    assert (fields["expires_in"], fields["token_type"]) == ("3600", "Bearer")


@pytest.mark.parametrize(
    ("lifetime", "message"), [(2.9, "2"), (0.2, "1"), (2591999, "2591999"), (0, "1")]
)
async def test_expires_in_is_rounded_down(
    caller: SandboxCaller, lifetime: float, message: str
) -> None:
    """To at least one second."""
    caller.bank.settings = replace(caller.bank.settings, lifetime=lifetime)
    assert (await caller.token()).json()["expires_in"] == message


async def test_same_token_until_it_has_expired(caller: SandboxCaller) -> None:
    """With the whole seconds left, also none; each institution has its own."""
    clock = caller.bank.clock = Clock()
    caller.bank.settings = replace(caller.bank.settings, issuing="same", lifetime=20)
    first = (await caller.token()).json()
    other = (await caller.token("00017")).json()
    assert other["access_token"] != first["access_token"]
    left = []
    for seconds in (12.5, 7.0):
        clock.now += seconds
        again = (await caller.token()).json()
        assert again["access_token"] == first["access_token"]
        left.append(again["expires_in"])
    assert left == ["7", "0"]
    clock.now += 0.5
    again = (await caller.token()).json()
    assert again["access_token"] != first["access_token"]
    assert again["expires_in"] == "20"


async def test_only_the_newest_token_is_valid(caller: SandboxCaller) -> None:
    """Of a client and institution."""
    caller.bank.settings = replace(caller.bank.settings, issuing="only")
    first, other = [(await caller.token(name)).json() for name in ("00016", "00017")]
    second = (await caller.token()).json()
    valid = {token.text for token in caller.bank.live_tokens()}
    assert valid == {other["access_token"], second["access_token"]}
    assert first["access_token"] not in valid


async def test_lifetime_by_institution(caller: SandboxCaller) -> None:
    """It is configurable."""
    caller.bank.settings = replace(caller.bank.settings, institution_lifetimes={"00017": 60})
    assert (await caller.token("00017")).json()["expires_in"] == "60"


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({"transactionId": ""}, "CMN_90008", 400),
        ({"transactionId": "not-a-uuid"}, "CMN_90008", 400),
        ({"institutionId": ""}, "CMN_90005", 400),
        ({"institutionId": "16a"}, "CMN_90005", 400),
        ({"institutionId": "00099"}, "CMN_90005", 400),
        ({"institutionId": "16"}, "CMN_90005", 400),
        ({"Authorization": ""}, "CMN_90004", 401),
        ({"Authorization": "Basic !!!"}, "CMN_90004", 401),
        ({"Content-Type": "application/json"}, "CMN_90010", 400),
    ],
)
async def test_headers_are_checked(
    caller: SandboxCaller, headers: dict[str, str], code: str, status: int
) -> None:
    """Each required one."""
    response = await caller.token(headers=headers)
    assert (response.status, response.code) == (status, code)
    assert is_uuid(response.headers["transactionId"])


@pytest.mark.parametrize("credentials", [("sandbox-client", "wrong"), ("nobody", "sandbox-secret")])
async def test_wrong_client(caller: SandboxCaller, credentials: tuple[str, str]) -> None:
    """CMN_90004 with 401."""
    response = await caller.token(credentials=credentials)
    assert (response.status, response.code) == (401, "CMN_90004")


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": ""}, "CMN_90007"),
        ({"grant_type": "implicit"}, "CMN_90007"),
        ({"scopes": "moon:read"}, "CMN_90012"),
        ({"grant_type": "password"}, "CMN_90013"),
        ({"grant_type": "password", "username": "juniper"}, "CMN_90014"),
        ({"grant_type": "password", "username": "juniper", "password": "no"}, "CMN_90015"),
        ({"grant_type": "password", "username": "basil", "password": "sundial"}, "CMN_90015"),
        ({"grant_type": "password", "username": "mallow", "password": "raincoat"}, "CMN_90009"),
        ({"grant_type": "refresh_token"}, "CMN_90011"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "CMN_90018"),
        ({"grant_type": "authorization_code"}, "CMN_90011"),
        ({"grant_type": "authorization_code", "code": "x"}, "CMN_90011"),
    ],
)
async def test_forms_are_checked(caller: SandboxCaller, form: dict[str, str], code: str) -> None:
    """Each mistake has its code."""
    assert (await caller.token(form=form)).code == code


async def test_scopes(caller: SandboxCaller) -> None:
    """The requested ones, by default all."""
    some = (await caller.token(scopes="accounts:read, transactions:read")).json()["access_token"]
    every = (await caller.token()).json()["access_token"]
    assert caller.bank.tokens[some].scopes == ("accounts:read", "transactions:read")
    assert caller.bank.tokens[every].scopes == caller.bank.settings.scopes


async def test_non_printable_body(caller: SandboxCaller) -> None:
    """CMN_90017."""
    asked = {
        "Content-Type": "application/x-www-form-urlencoded",
        "transactionId": str(uuid.uuid4()),
    }
    response = await caller.send("POST", "/oauth2/v1/token", asked, b"grant_type=\x01")
    assert response.code == "CMN_90017"


@pytest.mark.parametrize(("spelling", "status"), [("CMN_90006", 400), ("CMN_90006/403", 403)])
async def test_unauthorized_institution(caller: SandboxCaller, spelling: str, status: int) -> None:
    """CMN_90006 with 400 or 403."""
    caller.bank.settings = replace(
        caller.bank.settings, unauthorised=frozenset({"00017"}), unauthorised_as=spelling
    )
    response = await caller.token("00017")
    assert (response.status, response.code) == (status, "CMN_90006")


async def test_refresh_rotates_the_token(caller: SandboxCaller) -> None:
    """The old refresh token is invalid."""
    first = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    assert first["refresh_token_expires_in"] == "86400"
    response = await caller.token(
        "", grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    second = response.json()
    assert second["refresh_token"] != first["refresh_token"]
    again = {"grant_type": "refresh_token"}
    assert (
        await caller.token(form=again, refresh_token=first["refresh_token"])
    ).code == "CMN_90018"
    assert (await caller.token(form=again, refresh_token=second["refresh_token"])).status == 200
    assert caller.bank.tokens[second["access_token"]].user is caller.bank.settings.users[0]


async def test_refresh_token_expires(caller: SandboxCaller, clock: Clock) -> None:
    """CMN_90018 with 401."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    clock.now += 86400
    response = await caller.token(grant_type="refresh_token", refresh_token=pair["refresh_token"])
    assert (response.status, response.code) == (401, "CMN_90018")


async def test_refresh_for_another_institution(caller: SandboxCaller) -> None:
    """It is refused."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    response = await caller.token(
        "00017", grant_type="refresh_token", refresh_token=pair["refresh_token"]
    )
    assert response.code == "CMN_90005"


async def test_access_token_cannot_refresh(caller: SandboxCaller) -> None:
    """It is refused."""
    bearer = await caller.bearer()
    assert (await caller.token(grant_type="refresh_token", refresh_token=bearer)).code == (
        "CMN_90018"
    )


async def test_authorization_code(caller: SandboxCaller) -> None:
    """A code of ``/v1/auth-code`` is valid once."""
    asked = {
        "Authorization": "Basic c2FuZGJveC1jbGllbnQ6c2FuZGJveC1zZWNyZXQ=",
        "transactionId": str(uuid.uuid4()),
        "institutionId": "00016",
    }
    form = {"username": "juniper", "password": "moonlight"}
    code = (await caller.send("POST", "/v1/auth-code", asked, form)).json()["code"]
    response = await caller.token(grant_type="authorization_code", code=code)
    assert response.json()["refresh_token"]
    again = await caller.token(grant_type="authorization_code", code=code)
    assert again.code == "CMN_90011"


async def test_code_without_a_password(caller: SandboxCaller) -> None:
    """For tests; an unknown user is CMN_90016."""
    code = caller.bank.code_for("acorn.owner")
    assert (await caller.token(grant_type="authorization_code", code=code)).status == 200
    ghost = caller.bank.code_for("ghost", institution="00016")
    assert (await caller.token(grant_type="authorization_code", code=ghost)).code == "CMN_90016"


async def test_revoked_token_is_refused(caller: SandboxCaller) -> None:
    """Revocation is a 204."""
    bearer = await caller.bearer()
    response = await caller.revoke(bearer)
    assert (response.status, response.body) == (204, b"")
    assert (await caller.call("/v1/accounts", bearer=bearer)).code == "CMN_90018"
    assert (await caller.revoke(bearer)).status == 204


async def test_refresh_token_is_revoked_with_its_family(caller: SandboxCaller) -> None:
    """Refreshed tokens included."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    renewed = (
        await caller.token(grant_type="refresh_token", refresh_token=pair["refresh_token"])
    ).json()
    assert (await caller.call("/v1/accounts", bearer=pair["access_token"])).status == 200
    await caller.revoke(renewed["refresh_token"])
    for access in (pair["access_token"], renewed["access_token"]):
        assert (await caller.call("/v1/accounts", bearer=access)).status == 401


async def test_invalid_revocation(caller: SandboxCaller) -> None:
    """Nothing, an unknown token, a V1 token."""
    assert (await caller.revoke("")).code == "CMN_90011"
    assert (await caller.revoke("unknown")).code == "CMN_90018"
    assert (await caller.revoke(await caller.bearer(v1=True))).code == "CMN_90018"
    assert (await caller.revoke("x", Authorization="Basic eDp4")).code == "CMN_90004"
    assert (await caller.revoke("x", transactionId="x")).code == "CMN_90008"


async def test_requests_are_recorded(caller: SandboxCaller, clock: Clock) -> None:
    """Time, grant, institution and outcome."""
    await caller.token("00017")
    await caller.token("00018", credentials=("nobody", "x"))
    first, second = caller.bank.token_requests
    assert (first.time, first.kind, first.grant) == (clock.now, "V2", "client_credentials")
    assert (first.institution, first.client, first.outcome) == ("00017", "sandbox-client", "ok")
    assert (second.institution, second.client, second.outcome) == ("00018", "nobody", "CMN_90004")
    assert b"institutionId" in dict(first.headers)
