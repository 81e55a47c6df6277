"""Revocation of tokens at shutdown."""

from typing import Any

from structlog.testing import capture_logs

from proxy.sandbox import Fault
from tests.candescent.setup import PASSWORD, V1_PATH, bank_fixture


async def test_tokens_are_revoked_on_shutdown() -> None:
    """If configured; a warning says that V1 tokens are not."""
    with capture_logs() as logs:
        async with bank_fixture(revoke_on_shutdown="true", allowed_institutions="00018") as there:
            await there.call("/echo", institutionId="00018")
            await there.call(V1_PATH.format("00016"))
    held = there.bank.tokens.values()
    assert [token.revoked for token in held if token.generation == "V2"] == [True, True]
    assert [token.revoked for token in held if token.generation == "V1"] == [False]
    (said,) = [entry["event"] for entry in logs if "not revoked" in entry["event"]]
    assert "v1:00016" in said
    assert "cannot revoke V1 tokens" in said


async def test_refresh_token_of_a_password_is_revoked() -> None:
    """With its access tokens."""
    async with bank_fixture(revoke_on_shutdown="true", **PASSWORD) as there:
        there.bank.expire_all()
        await there.call("/echo")
    assert not [token for token in there.bank.tokens.values() if there.bank.is_valid(token)]
    assert len(there.bank.revocations) == 1


async def test_not_revoked_by_default() -> None:
    """Another proxy may share the token."""
    async with bank_fixture() as there:
        await there.call("/echo")
    assert not there.bank.revocations
    assert len(list(there.bank.live_tokens())) == 1


async def test_revocation_is_best_effort() -> None:
    """A hanging one does not delay others or the end."""
    quick: dict[str, Any] = {"token": {"timeout": "0.5"}}
    names = ("00016", "00017", "00018")
    async with bank_fixture(
        revoke_on_shutdown="true", allowed_institutions="00017,00018", **quick
    ) as there:
        for institution in names:
            await there.call("/echo", institutionId=institution)
        there.bank.faults.append(Fault("revoke", hang=True, times=1))
    assert len(there.bank.revocations) == len(names) - 1


async def test_refused_revocation_is_logged() -> None:
    """With the bank's code, without the token."""
    with capture_logs() as logs:
        async with bank_fixture(
            None, Fault("revoke", code="CMN_90018"), revoke_on_shutdown="true"
        ) as there:
            pass
    (said,) = [entry["event"] for entry in logs if "not revoked" in entry["event"]]
    assert "token of v2:00016 not revoked" in said
    assert "CMN_90018" in said
    assert not [text for text in there.bank.tokens if text in said]
