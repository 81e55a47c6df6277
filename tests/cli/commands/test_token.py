"""``token``: facts about a token, and the token itself on request only."""

from pathlib import Path

import pytest

from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.inside import Inside
from tests.cli.commands.operator import code as login_code
from tests.cli.commands.operator import held, variables


async def test_token_is_hidden_by_default(bank: Sandbox, inside: Inside) -> None:
    """Kind, institution and expiry are printed."""
    code, out, err = await inside.run("token", **variables(bank))
    assert (code, err) == (0, "")
    assert out.startswith("A v2 token for institution 00016, valid for 3600 s, until 20")
    assert out.endswith("--reveal prints it.")
    (token,) = bank.bank.tokens
    assert token not in out


@pytest.mark.parametrize("kind", ["v2", "v1"])
async def test_reveal_prints_the_token_alone(bank: Sandbox, inside: Inside, kind: str) -> None:
    """On standard output; the warning is on standard error."""
    code, out, err = await inside.run("token", "--reveal", "--kind", kind, **variables(bank))
    assert code == 0
    (token,) = bank.bank.tokens
    assert out == token
    assert bank.bank.tokens[token].generation == kind.upper()
    assert f"A {kind} token for institution 00016" in err
    assert "Anyone who has it can act as your application" in err
    assert token not in err


async def test_another_institution(bank: Sandbox, inside: Inside) -> None:
    """If it is allowed; others are refused without a call."""
    allowed = {"CANDESCENT_ALLOWED_INSTITUTIONS": "00017"}
    reported = ("token", "--institution")
    code, out, _ = await inside.run(*reported, "00017", **variables(bank), **allowed)
    assert code == 0
    assert "institution 00017" in out
    code, _, err = await inside.run(*reported, "00018")
    assert (code, len(bank.bank.token_requests)) == (1, 1)
    assert "not allowed by the configuration" in err


async def test_stored_login_is_renewed(bank: Sandbox, stored: Path, inside: Inside) -> None:
    """The new refresh token is stored for the proxy."""
    with_login = variables(bank, stored)
    code, _, err = await inside.run("token", **with_login)
    assert code == 1
    assert "candescent-proxy login" in err
    inside.type_input(login_code(bank).decode())
    assert (await inside.run("login"))[0] == 0
    before = held(stored)
    assert (await inside.run("token"))[0] == 0
    assert held(stored) != before


async def test_missing_token_exits_with_1(bank: Sandbox, inside: Inside) -> None:
    """With the reason and where to look."""
    bank.bank.faults.append(Fault("token", code="CMN_90005"))
    code, out, err = await inside.run("token", "--reveal", **variables(bank))
    assert (code, out) == (1, "")
    assert "Compare institution_id" in err
    assert "candescent-proxy doctor" in err


async def test_static_token_is_not_printed(bank: Sandbox, inside: Inside) -> None:
    """The user has it already."""
    given = {"CANDESCENT_BEARER_TOKEN": "given-by-hand"}
    code, out, err = await inside.run("token", "--reveal", **variables(bank), **given)
    assert (code, out) == (1, "")
    assert "bearer_token is set" in err
    assert "given-by-hand" not in err
