"""``revoke`` as an operator runs it."""

from pathlib import Path

from proxy.sandbox import Sandbox
from proxy.tokens.token import TokenKey, TokenKind
from tests.cli.commands.operator import code, held, variables
from tests.support.program import run_program
from tests.support.running import make_app

FAILED, WRONG = 1, 2


async def test_revoke_ends_an_access_token(bank: Sandbox) -> None:
    """A token that has leaked is good no more; it shows in no output."""
    text = await issued(bank)
    exit_code, said, complaint = await run_program("revoke", stdin=text.encode(), **variables(bank))
    assert (exit_code, said, complaint) == (0, "Revoked.", "")
    assert not bank.bank.is_valid(bank.bank.tokens[text])


async def issued(bank: Sandbox) -> str:
    """Return an access token, as a proxy would get it."""
    app = make_app(bank.url)
    try:
        return (await app.tokens.token(TokenKey(TokenKind.V2, "00016"))).text
    finally:
        await app._core.close()


async def test_revoke_of_a_refresh_token_takes_its_access_tokens_along(
    bank: Sandbox, stored: Path
) -> None:
    """So one command ends a login."""
    await run_program("login", stdin=code(bank), **variables(bank, stored))
    text = held(stored)["v2:00016"]["text"]
    exit_code, _, _ = await run_program("revoke", stdin=text.encode(), **variables(bank))
    assert exit_code == 0
    assert list(bank.bank.live_tokens()) == []


async def test_revoke_that_the_bank_refuses(bank: Sandbox) -> None:
    """A token that the bank does not know is told, with its code, and without the token."""
    exit_code, _, complaint = await run_program(
        "revoke", stdin=b"token-of-another", **variables(bank)
    )
    assert exit_code == FAILED
    assert "not revoked" in complaint
    assert "CMN_90018" in complaint
    assert "token-of-another" not in complaint


async def test_revoke_of_a_v1_token_says_that_it_cannot(bank: Sandbox) -> None:
    """Nothing is asked and nothing sent: the bank knows no such request."""
    exit_code, _, complaint = await run_program(
        "revoke", "--kind", "v1", stdin=b"whatever", **variables(bank)
    )
    assert exit_code == FAILED
    assert "no way to revoke a V1 token" in complaint
    assert len(bank.bank.revocations) == 0
