"""``login`` as an operator runs it: processes before a real bank."""

from pathlib import Path
from typing import Any

import pytest

from proxy.sandbox import Sandbox
from tests.cli.commands.operator import code, held, permissions, variables
from tests.support.mounted_files import write
from tests.support.process import process
from tests.support.program import run_program

FAILED, WRONG = 1, 2


async def test_login_keeps_what_the_proxy_needs(bank: Sandbox, stored: Path) -> None:
    """A code from standard input becomes a refresh token in a file of its owner's alone."""
    exit_code, said, complaint = await run_program(
        "login", stdin=code(bank), **variables(bank, stored)
    )
    assert (exit_code, complaint) == (0, "")
    assert "Logged in for institution 00016" in said
    entry = held(stored)["v2:00016"]
    assert bank.bank.tokens[entry["text"]].refresh
    assert entry["text"] not in said
    assert permissions(stored) == 0o600


async def test_running_proxy_takes_the_login(bank: Sandbox, stored: Path, tmp_path: Path) -> None:
    """A proxy that waits for somebody to log in is ready as soon as that is done, and once more.

    Though it remembers for a minute that it was refused.
    """
    login: dict[str, Any] = {"grant": "authorization_code", "refresh_token_file": str(stored)}
    file = tmp_path / "proxy.yaml"
    login["reload_interval"] = "0.05"
    async with process(file, bank.url, ready=False, **login) as running:
        _ = await running.program.wait_for_event("token refresh failed")
        status, text = await running.ask("/readyz")
        assert status == 503
        assert "Run `candescent-proxy login`" in text
        assert (await run_program("login", stdin=code(bank), **variables(bank, stored)))[0] == 0
        await running.ready()
    async with process(file, bank.url, **login):
        grants = [request.grant for request in bank.bank.token_requests]
        assert grants[-1] == "refresh_token"


async def test_code_is_good_once(bank: Sandbox, stored: Path) -> None:
    """The second try is told so, and what the first has brought stays."""
    once = code(bank)
    assert (await run_program("login", stdin=once, **variables(bank, stored)))[0] == 0
    before = held(stored)
    exit_code, _, complaint = await run_program("login", stdin=once, **variables(bank, stored))
    assert exit_code == FAILED
    assert "not logged in" in complaint
    assert "A code is good once; ask for a new one." in complaint
    assert once.decode().strip() not in complaint
    assert held(stored) == before


async def test_login_for_another_institution(bank: Sandbox, stored: Path) -> None:
    """An institution with a login of its own is named on the command line."""
    own = {"CANDESCENT_CONFIG": str(stored.parent / "proxy.yaml")}
    write(stored.parent / "proxy.yaml", "institutions: {'00017': {grant: authorization_code}}")
    bank_code = bank.bank.code_for("basil.thyme", institution="00017").encode()
    exit_code, said, _ = await run_program(
        "login",
        "--institution",
        "00017",
        stdin=bank_code,
        **(variables(bank, stored) | own),
    )
    assert exit_code == 0
    assert "institution 00017" in said
    assert held(stored).keys() == {"v2:00017"}


@pytest.mark.parametrize(
    ("changes", "arguments", "why"),
    [
        (
            {"CANDESCENT_REFRESH_TOKEN_FILE": ""},
            (),
            "refresh_token_file: needed for grant: authorization_code",
        ),
        ({"CANDESCENT_GRANT": ""}, (), "set its grant to authorization_code"),
        ({}, ("--institution", "00099"), "none that the configuration allows"),
    ],
)
async def test_login_that_would_be_lost_spends_no_code(
    bank: Sandbox, stored: Path, changes: dict[str, str], arguments: tuple[str, ...], why: str
) -> None:
    """What is wrong with the configuration is said before the bank is asked."""
    exit_code, _, complaint = await run_program(
        "login", *arguments, stdin=code(bank), **(variables(bank, stored) | changes)
    )
    assert exit_code != 0
    assert why in complaint
    assert len(bank.bank.codes) == 1


async def test_login_that_cannot_be_kept_has_failed(bank: Sandbox, tmp_path: Path) -> None:
    """A file that cannot be written is no success."""
    stored = tmp_path / "missing" / "login.json"
    exit_code, said, complaint = await run_program(
        "login", stdin=code(bank), **variables(bank, stored)
    )
    assert exit_code == WRONG
    assert "Logged in" not in said
    assert "cannot be written" in complaint


@pytest.mark.parametrize(("name", "typed"), [("login", b""), ("revoke", b"  \n")])
async def test_nothing_on_standard_input(
    bank: Sandbox, stored: Path, name: str, typed: bytes
) -> None:
    """No code and no token is a mistake to tell, not a request to send."""
    exit_code, _, complaint = await run_program(name, stdin=typed, **variables(bank, stored))
    assert exit_code == WRONG
    assert "expected one line" in complaint
    assert len(bank.bank.token_requests) == 0
