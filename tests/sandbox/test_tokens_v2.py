"""V2 tokens: every grant, every refusal, revocation."""

import uuid
from dataclasses import replace

import pytest

from proxy.sandbox.call import is_uuid
from tests.sandbox.caller import Clock, SandboxCaller


async def test_client_credentials(caller: SandboxCaller) -> None:
    """The documented answer: ``expires_in`` a string, the request's transactionId."""
    transaction = str(uuid.uuid4())
    response = await caller.token(headers={"transactionId": transaction})
    assert (response.status, response.headers["transactionId"]) == (200, transaction)
    fields = response.json()
    assert fields.keys() == {"access_token", "expires_in", "token_type"}
    assert (fields["expires_in"], fields["token_type"]) == ("3600", "Bearer")


@pytest.mark.parametrize(
    ("lifetime", "told"), [(2.9, "2"), (0.2, "1"), (2591999, "2591999"), (0, "1")]
)
async def test_expires_in_is_rounded_down(
    caller: SandboxCaller, lifetime: float, told: str
) -> None:
    """``expires_in`` is whole seconds, rounded down, one at least."""
    caller.bank.settings = replace(caller.bank.settings, lifetime=lifetime)
    assert (await caller.token()).json()["expires_in"] == told


async def test_lifetime_by_institution(caller: SandboxCaller) -> None:
    """Lifetimes can differ from one institution to the next."""
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
async def test_headers(
    caller: SandboxCaller, headers: dict[str, str], code: str, status: int
) -> None:
    """Each required header is checked."""
    response = await caller.token(headers=headers)
    assert (response.status, response.code) == (status, code)
    assert is_uuid(response.headers["transactionId"])


@pytest.mark.parametrize("credentials", [("sandbox-client", "wrong"), ("nobody", "sandbox-secret")])
async def test_wrong_client(caller: SandboxCaller, credentials: tuple[str, str]) -> None:
    """A wrong secret or an unknown client is CMN_90004, 401."""
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
async def test_forms(caller: SandboxCaller, form: dict[str, str], code: str) -> None:
    """Each mistake in the form has its code."""
    assert (await caller.token(form=form)).code == code


async def test_scopes(caller: SandboxCaller) -> None:
    """Scopes that are asked for are granted alone; none asked for, all."""
    some = (await caller.token(scopes="accounts:read, transactions:read")).json()["access_token"]
    every = (await caller.token()).json()["access_token"]
    assert caller.bank.tokens[some].scopes == ("accounts:read", "transactions:read")
    assert caller.bank.tokens[every].scopes == caller.bank.settings.scopes


async def test_unprintable_body(caller: SandboxCaller) -> None:
    """A body that is not printable ASCII is CMN_90017."""
    asked = {
        "Content-Type": "application/x-www-form-urlencoded",
        "transactionId": str(uuid.uuid4()),
    }
    response = await caller.send("POST", "/oauth2/v1/token", asked, b"grant_type=\x01")
    assert response.code == "CMN_90017"


@pytest.mark.parametrize(("spelling", "status"), [("CMN_90006", 400), ("CMN_90006/403", 403)])
async def test_unauthorised_institution(caller: SandboxCaller, spelling: str, status: int) -> None:
    """An institution the client may not use is CMN_90006, as 400 or 403."""
    caller.bank.settings = replace(
        caller.bank.settings, unauthorised=frozenset({"00017"}), unauthorised_as=spelling
    )
    response = await caller.token("00017")
    assert (response.status, response.code) == (status, "CMN_90006")


async def test_password_and_rotation(caller: SandboxCaller) -> None:
    """A refresh returns a new pair; the old refresh token is dead, the new one good."""
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


async def test_refresh_token_has_an_end(caller: SandboxCaller, clock: Clock) -> None:
    """A refresh token past its time is CMN_90018, 401."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    clock.now += 86400
    response = await caller.token(grant_type="refresh_token", refresh_token=pair["refresh_token"])
    assert (response.status, response.code) == (401, "CMN_90018")


async def test_refresh_for_another_institution(caller: SandboxCaller) -> None:
    """An ``institutionId`` that comes with a refresh has to be the right one."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    response = await caller.token(
        "00017", grant_type="refresh_token", refresh_token=pair["refresh_token"]
    )
    assert response.code == "CMN_90005"


async def test_access_token_is_no_refresh_token(caller: SandboxCaller) -> None:
    """An access token cannot be used to refresh."""
    bearer = await caller.bearer()
    assert (await caller.token(grant_type="refresh_token", refresh_token=bearer)).code == (
        "CMN_90018"
    )


async def test_authorization_code(caller: SandboxCaller) -> None:
    """A code of ``/v1/auth-code`` is exchanged for a pair, once."""
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


async def test_code_of_the_bank(caller: SandboxCaller) -> None:
    """Tests can have a code without a password; of nobody, it is CMN_90016."""
    code = caller.bank.code_for("acorn.owner")
    assert (await caller.token(grant_type="authorization_code", code=code)).status == 200
    ghost = caller.bank.code_for("ghost", institution="00016")
    assert (await caller.token(grant_type="authorization_code", code=ghost)).code == "CMN_90016"


async def test_revoked_token_is_refused(caller: SandboxCaller) -> None:
    """Revocation is 204 without a body, and the token is refused from then on."""
    bearer = await caller.bearer()
    response = await caller.revoke(bearer)
    assert (response.status, response.body) == (204, b"")
    assert (await caller.call("/v1/accounts", bearer=bearer)).code == "CMN_90018"
    assert (await caller.revoke(bearer)).status == 204


async def test_revoked_refresh_token_kills_its_access_tokens(caller: SandboxCaller) -> None:
    """Revoking a refresh token kills its access tokens, renewed ones included."""
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


async def test_what_cannot_be_revoked(caller: SandboxCaller) -> None:
    """Nothing, something unknown, and a V1 token cannot be revoked."""
    assert (await caller.revoke("")).code == "CMN_90011"
    assert (await caller.revoke("unknown")).code == "CMN_90018"
    assert (await caller.revoke(await caller.bearer(v1=True))).code == "CMN_90018"
    assert (await caller.revoke("x", Authorization="Basic eDp4")).code == "CMN_90004"
    assert (await caller.revoke("x", transactionId="x")).code == "CMN_90008"


async def test_books(caller: SandboxCaller, clock: Clock) -> None:
    """Every request is in the books: when, which grant, for whom, and what became of it."""
    await caller.token("00017")
    await caller.token("00018", credentials=("nobody", "x"))
    first, second = caller.bank.token_requests
    assert (first.time, first.kind, first.grant) == (clock.now, "V2", "client_credentials")
    assert (first.institution, first.client, first.outcome) == ("00017", "sandbox-client", "ok")
    assert (second.institution, second.client, second.outcome) == ("00018", "nobody", "CMN_90004")
    assert b"institutionId" in dict(first.headers)
