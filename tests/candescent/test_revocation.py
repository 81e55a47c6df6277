"""What becomes of the tokens at the end."""

from typing import Any

from structlog.testing import capture_logs

from proxy.sandbox import Fault
from tests.candescent.setup import PASSWORD, V1_PATH, bank_fixture


async def test_revoked_on_shutdown() -> None:
    """When set, V2 tokens are revoked at the bank; of V1 it is said plainly that they are not."""
    with capture_logs() as logs:
        async with bank_fixture(revoke_on_shutdown="true", allowed_institutions="00018") as there:
            await there.call("/echo", institutionId="00018")
            await there.call(V1_PATH.format("00016"))
    held = there.bank.tokens.values()
    assert [token.revoked for token in held if token.generation == "V2"] == [True, True]
    assert [token.revoked for token in held if token.generation == "V1"] == [False]
    (said,) = [entry["event"] for entry in logs if "not revoked" in entry["event"]]
    assert "v1:00016" in said
    assert "no way to revoke a V1 token" in said


async def test_password_login_is_revoked_whole() -> None:
    """Its refresh token is revoked, which takes the access tokens along."""
    async with bank_fixture(revoke_on_shutdown="true", **PASSWORD) as there:
        there.bank.expire_all()
        await there.call("/echo")
    assert not [token for token in there.bank.tokens.values() if there.bank.is_valid(token)]
    assert len(there.bank.revocations) == 1


async def test_not_revoked_by_default() -> None:
    """A sibling may share the token, so nothing is revoked unless it was asked for."""
    async with bank_fixture() as there:
        await there.call("/echo")
    assert not there.bank.revocations
    assert len(list(there.bank.live_tokens())) == 1


async def test_revocation_is_best_effort() -> None:
    """One that the bank does not answer for holds no other up, and the end not for long."""
    quick: dict[str, Any] = {"token": {"timeout": "0.5"}}
    names = ("00016", "00017", "00018")
    async with bank_fixture(
        revoke_on_shutdown="true", allowed_institutions="00017,00018", **quick
    ) as there:
        for institution in names:
            await there.call("/echo", institutionId=institution)
        there.bank.faults.append(Fault("revoke", hang=True, times=1))
    assert len(there.bank.revocations) == len(names) - 1


async def test_revocation_that_the_bank_refuses() -> None:
    """A refusal is a line in the log, with the bank's code and without the token."""
    with capture_logs() as logs:
        async with bank_fixture(
            None, Fault("revoke", code="CMN_90018"), revoke_on_shutdown="true"
        ) as there:
            pass
    (said,) = [entry["event"] for entry in logs if "not revoked" in entry["event"]]
    assert "token of v2:00016 not revoked" in said
    assert "CMN_90018" in said
    assert not [text for text in there.bank.tokens if text in said]
