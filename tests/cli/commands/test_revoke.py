"""``revoke`` as an operator runs it."""

from pathlib import Path

from proxy.sandbox import Sandbox
from proxy.tokens.token import TokenKey, TokenKind
from tests.cli.commands.operator import code, held, variables
from tests.support.program import run_program
from tests.support.running import make_app

FAILED, WRONG = 1, 2


async def test_access_token_is_revoked(bank: Sandbox) -> None:
    """It is refused afterwards and in no output."""
    text = await issued(bank)
    exit_code, said, complaint = await run_program("revoke", stdin=text.encode(), **variables(bank))
    assert (exit_code, said, complaint) == (0, "Revoked.", "")
    assert not bank.bank.is_valid(bank.bank.tokens[text])


async def issued(bank: Sandbox) -> str:
    """Return an access token, as a proxy gets it."""
    app = make_app(bank.url)
    try:
        return (await app.tokens.token(TokenKey(TokenKind.V2, "00016"))).text
    finally:
        await app._core.close()


async def test_refresh_token_is_revoked_with_its_access_tokens(bank: Sandbox, stored: Path) -> None:
    """One command ends a login."""
    await run_program("login", stdin=code(bank), **variables(bank, stored))
    text = held(stored)["v2:00016"]["text"]
    exit_code, _, _ = await run_program("revoke", stdin=text.encode(), **variables(bank))
    assert exit_code == 0
    assert list(bank.bank.live_tokens()) == []


async def test_unknown_token_is_reported(bank: Sandbox) -> None:
    """With the bank's code, without the token."""
    exit_code, _, complaint = await run_program(
        "revoke", stdin=b"token-of-another", **variables(bank)
    )
    assert exit_code == FAILED
    assert "not revoked" in complaint
    assert "CMN_90018" in complaint
    assert "token-of-another" not in complaint


async def test_v1_token_cannot_be_revoked(bank: Sandbox) -> None:
    """No request is sent, because the bank has none for it."""
    exit_code, _, complaint = await run_program(
        "revoke", "--kind", "v1", stdin=b"whatever", **variables(bank)
    )
    assert exit_code == FAILED
    assert "cannot revoke V1 tokens" in complaint
    assert len(bank.bank.revocations) == 0
