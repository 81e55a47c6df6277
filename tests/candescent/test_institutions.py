"""Several institutions with two sets of credentials."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from proxy.errors import ErrorKind, kinds
from proxy.sandbox import Fault, Settings
from tests.candescent.setup import HASTY, PASSWORD, V1_PATH, BankFixture, bank_fixture
from tests.support.running import until

TWO_CLIENTS = Settings(
    clients={"sandbox-client": "sandbox-secret", "other-client": "other-secret"},
    client_institutions={"sandbox-client": ("00016", "00018"), "other-client": ("00017",)},
    least_expires_in=1,
)
THREE: dict[str, Any] = {
    "allowed_institutions": "00018",
    "institutions": {"00017": {"client_id": "other-client", "client_secret": "other-secret"}},
}


@pytest.mark.parametrize(
    ("path", "token_requests", "expected"),
    [
        ("/echo", None, "00016"),
        ("/echo", "00016", "00016"),
        ("/echo", "00017", "00017"),
        ("/echo", "00018", "00018"),
        (V1_PATH.format("00016"), None, "00016"),
        (V1_PATH.format("00017"), None, "00017"),
        (V1_PATH.format("00018"), "00018", "00018"),
    ],
)
async def test_institution_of_a_request(
    path: str, token_requests: str | None, expected: str
) -> None:
    """By header or V1 path, with its credentials."""
    async with bank_fixture(TWO_CLIENTS, **THREE) as there:
        seen = await there.echo(
            path, **({"institutionId": token_requests} if token_requests else {})
        )
        assert seen["institution"] == expected
        client = "other-client" if expected == "00017" else "sandbox-client"
        assert there.bank.token_requests[-1].client == client


@pytest.mark.parametrize(
    ("path", "token_requests", "kind"),
    [
        ("/echo", "00099", kinds.INSTITUTION_NOT_ALLOWED),
        ("/echo", "16", kinds.INSTITUTION_NOT_ALLOWED),
        ("/echo", "", kinds.INSTITUTION_MALFORMED),
        ("/echo", "00016x", kinds.INSTITUTION_MALFORMED),
        ("/echo", "00016, 00017", kinds.INSTITUTION_MALFORMED),
        (V1_PATH.format("00099"), None, kinds.INSTITUTION_NOT_ALLOWED),
        (V1_PATH.format("abc"), None, kinds.INSTITUTION_MALFORMED),
        (V1_PATH.format(""), None, kinds.INSTITUTION_NOT_ALLOWED),
        (V1_PATH.format("%30%30016"), None, kinds.INSTITUTION_MALFORMED),
        (V1_PATH.format("00016"), "00017", kinds.INSTITUTION_CONFLICT),
        (V1_PATH.format("00017"), "00016", kinds.INSTITUTION_CONFLICT),
    ],
)
async def test_wrong_institution_is_refused(
    path: str, token_requests: str | None, kind: ErrorKind
) -> None:
    """A foreign one is 403, an invalid or contradictory one 400."""
    async with bank_fixture(TWO_CLIENTS, **THREE) as there:
        response = await there.call(
            path, **({} if token_requests is None else {"institutionId": token_requests})
        )
        assert (response.status, response.error) == (kind.status, f"caller {kind.name}")
        assert there.bank.counts["arrivals"] == 0
        assert len(there.grants) == 1


async def test_user_belongs_to_its_institution() -> None:
    """Others use the default's credentials without its user."""
    async with bank_fixture(
        allowed_institutions="00018", scopes="accounts:read", **PASSWORD
    ) as there:
        assert (await there.echo(institutionId="00018"))["grant"] == "client_credentials"
        scopes = {token.scopes for token in there.bank.tokens.values()}
        assert scopes == {("accounts:read",)}


async def test_scopes_are_inherited_with_the_credentials() -> None:
    """From the default."""
    own = {"00017": {"host_user_id": "880018"}, "00018": {"scopes": "users:read"}}
    async with bank_fixture(institutions=own, scopes="accounts:read") as there:
        for institution in own:
            await there.echo(institutionId=institution)
        scopes = {token.institution: token.scopes for token in there.bank.tokens.values()}
        assert scopes["00017"] == ("accounts:read",)
        assert scopes["00018"] == ("users:read",)


async def test_failing_institutions_do_not_affect_others() -> None:
    """Under load with short-lived tokens, one refused and one throttled.

    V1 and V2 for three institutions with two sets of credentials.
    """
    rules = replace(TWO_CLIENTS, lifetime=1.0, v1_lifetime=1.0, institution_lifetimes={})
    paths = ["/echo", V1_PATH.format("00016")]
    statuses: Counter[tuple[str, int]] = Counter()

    async def load(there: BankFixture, institution: str) -> None:
        while True:
            for path in ("/echo", V1_PATH.format(institution)):
                response = await there.call(path, institutionId=institution)
                statuses[institution, response.status] += 1
                if response.status != 200:
                    await asyncio.sleep(0.01)

    def token_requests(there: BankFixture, institution: str) -> int:
        return sum(a.institution == institution for a in there.bank.token_requests)

    async with bank_fixture(rules, **THREE) as there:
        for institution in ("00017", "00018"):
            assert (await there.call("/echo", institutionId=institution)).status == 200
        for where in ("token", "v1token"):
            there.bank.faults.append(Fault(where, code="CMN_90006/400", institution="00017"))
            there.bank.faults.append(Fault(where, code="CMN_90002", institution="00018"))
        loads = [
            asyncio.ensure_future(load(there, name))
            for name in ("00016", "00016", "00017", "00018")
        ]
        try:
            await until(lambda: token_requests(there, "00016") > 8 and statuses["00018", 503] > 2)
        finally:
            for task in loads:
                task.cancel()
            results = await asyncio.gather(*loads, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert {status for name, status in statuses if name == "00016"} == {200}
        assert statuses["00016", 200] > 20 * len(paths)
        assert statuses["00017", 503] > 2
        assert there.count("token_refresh_failures", institution="00016") == 0
        assert there.count("token_refresh_failures", institution="00017", reason="bad_institution")
        assert there.count("token_refresh_failures", institution="00018", reason="throttled")
        responses = [await there.call("/echo", institutionId=name) for name in ("00017", "00018")]
        errors = {response.error for response in responses}
        assert errors == {"token token-bad-institution", "token token-throttled"}
        assert all(int(response.headers["Retry-After"]) >= 1 for response in responses)


async def test_unused_institution_is_released() -> None:
    """The next request fetches a new token."""
    quick: dict[str, Any] = {"token": HASTY["token"] | {"idle": "0.2"}}
    rules = replace(TWO_CLIENTS, lifetime=1.0)
    async with bank_fixture(rules, **THREE, **quick) as there:
        assert (await there.call("/echo", institutionId="00018")).status == 200
        await until(
            lambda: {entry.key.institution for entry in there.app.tokens.entries()} == {"00016"}
        )
        assert (await there.call("/echo", institutionId="00018")).status == 200
