"""``login`` as a process with a real bank."""

from pathlib import Path
from typing import Any

import pytest

from proxy.sandbox import Sandbox
from tests.cli.commands.operator import code, held, permissions, variables
from tests.support.mounted_files import write
from tests.support.process import process
from tests.support.program import run_program

FAILED, WRONG = 1, 2


async def test_login_writes_the_refresh_token(bank: Sandbox, stored: Path) -> None:
    """A code from standard input becomes a token in a private file."""
    exit_code, said, complaint = await run_program(
        "login", stdin=code(bank), **variables(bank, stored)
    )
    assert (exit_code, complaint) == (0, "")
    assert "Logged in for institution 00016" in said
    entry = held(stored)["v2:00016"]
    assert bank.bank.tokens[entry["text"]].refresh
    assert entry["text"] not in said
    assert permissions(stored) == 0o600


async def test_running_proxy_uses_the_login(bank: Sandbox, stored: Path, tmp_path: Path) -> None:
    """A proxy that waits for a login is ready after it, and after another one.

    Although a refusal is remembered for a minute.
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


async def test_code_can_be_used_once(bank: Sandbox, stored: Path) -> None:
    """The second attempt fails, and the first token stays."""
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
    """It is named on the command line."""
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
        ({}, ("--institution", "00099"), "not allowed by the configuration"),
    ],
)
async def test_configuration_error_spends_no_code(
    bank: Sandbox, stored: Path, changes: dict[str, str], arguments: tuple[str, ...], why: str
) -> None:
    """It is reported before the bank is called."""
    exit_code, _, complaint = await run_program(
        "login", *arguments, stdin=code(bank), **(variables(bank, stored) | changes)
    )
    assert exit_code != 0
    assert why in complaint
    assert len(bank.bank.codes) == 1


async def test_unwritable_file_is_a_failure(bank: Sandbox, tmp_path: Path) -> None:
    """The exit code shows it."""
    stored = tmp_path / "missing" / "login.json"
    exit_code, said, complaint = await run_program(
        "login", stdin=code(bank), **variables(bank, stored)
    )
    assert exit_code == WRONG
    assert "Logged in" not in said
    assert "cannot be written" in complaint


@pytest.mark.parametrize(("name", "typed"), [("login", b""), ("revoke", b"  \n")])
async def test_empty_standard_input_is_an_error(
    bank: Sandbox, stored: Path, name: str, typed: bytes
) -> None:
    """No request is sent."""
    exit_code, _, complaint = await run_program(name, stdin=typed, **variables(bank, stored))
    assert exit_code == WRONG
    assert "expected one line" in complaint
    assert len(bank.bank.token_requests) == 0
