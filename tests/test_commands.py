"""``login``, ``revoke`` and ``wait`` as an operator runs them: processes before a real bank."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.sandbox import Fault, Sandbox
from proxy.tokens.token import TokenKey, TokenKind
from tests.mounts import write
from tests.process import process
from tests.program import ended
from tests.running import CLIENT, make_app, until

FAILED, WRONG = 1, 2


@pytest.fixture
async def bank() -> AsyncIterator[Sandbox]:
    """A bank."""
    async with Sandbox() as bank:
        yield bank


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where a login is kept."""
    return tmp_path / "login.json"


def variables(bank: Sandbox, kept: Path | None = None) -> dict[str, str]:
    """Return what the commands are configured with."""
    found = {"BASE_URL": bank.url, "INSTITUTION_ID": "00016"}
    found |= {name.upper(): text for name, text in CLIENT.items()}
    if kept is not None:
        found |= {"GRANT": "authorization_code", "REFRESH_TOKEN_FILE": str(kept)}
    return {f"CANDESCENT_{name}": text for name, text in found.items()}


def code(bank: Sandbox, institution: str = "00016") -> bytes:
    """Return an authorization code, as a person pastes it."""
    return bank.bank.code_for("juniper.quill", institution=institution).encode() + b"\n"


async def test_login_keeps_what_the_proxy_needs(bank: Sandbox, kept: Path) -> None:
    """A code from standard input becomes a refresh token in a file of its owner's alone."""
    exit_code, said, complaint = await ended("login", stdin=code(bank), **variables(bank, kept))
    assert (exit_code, complaint) == (0, "")
    assert "Logged in for institution 00016" in said
    entry = held(kept)["v2:00016"]
    assert bank.bank.tokens[entry["text"]].refresh
    assert entry["text"] not in said
    assert permissions(kept) == 0o600


def held(kept: Path) -> dict[str, dict[str, str]]:
    """Return what a login has left."""
    found: dict[str, dict[str, str]] = json.loads(kept.read_text())
    return found


def permissions(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_running_proxy_takes_the_login(bank: Sandbox, kept: Path, tmp_path: Path) -> None:
    """A proxy that waits for somebody to log in is ready as soon as that is done, and once more.

    Though it remembers for a minute that it was refused.
    """
    login: dict[str, Any] = {"grant": "authorization_code", "refresh_token_file": str(kept)}
    file = tmp_path / "proxy.yaml"
    login["reload_interval"] = "0.05"
    async with process(file, bank.url, ready=False, **login) as running:
        _ = await running.program.told("token refresh failed")
        status, text = await running.ask("/readyz")
        assert status == 503
        assert "run candescent-proxy login" in text
        assert (await ended("login", stdin=code(bank), **variables(bank, kept)))[0] == 0
        await running.ready()
    async with process(file, bank.url, **login):
        grants = [request.grant for request in bank.bank.token_requests]
        assert grants[-1] == "refresh_token"


async def test_code_is_good_once(bank: Sandbox, kept: Path) -> None:
    """The second try is told so, and what the first has brought stays."""
    once = code(bank)
    assert (await ended("login", stdin=once, **variables(bank, kept)))[0] == 0
    before = held(kept)
    exit_code, _, complaint = await ended("login", stdin=once, **variables(bank, kept))
    assert exit_code == FAILED
    assert "not logged in" in complaint
    assert "A code is good once; ask for a new one." in complaint
    assert once.decode().strip() not in complaint
    assert held(kept) == before


async def test_login_for_another_institution(bank: Sandbox, kept: Path) -> None:
    """An institution with a login of its own is named on the command line."""
    own = {"CANDESCENT_CONFIG": str(kept.parent / "proxy.yaml")}
    write(kept.parent / "proxy.yaml", "institutions: {'00017': {grant: authorization_code}}")
    bank_code = bank.bank.code_for("basil.thyme", institution="00017").encode()
    exit_code, said, _ = await ended(
        "login",
        "--institution",
        "00017",
        stdin=bank_code,
        **(variables(bank, kept) | own),
    )
    assert exit_code == 0
    assert "institution 00017" in said
    assert held(kept).keys() == {"v2:00017"}


@pytest.mark.parametrize(
    ("changes", "arguments", "why"),
    [
        ({"CANDESCENT_REFRESH_TOKEN_FILE": ""}, (), "refresh_token_file: the authorization_code"),
        ({"CANDESCENT_GRANT": ""}, (), "set its grant to authorization_code"),
        ({}, ("--institution", "00099"), "none that the configuration allows"),
    ],
)
async def test_login_that_would_be_lost_spends_no_code(
    bank: Sandbox, kept: Path, changes: dict[str, str], arguments: tuple[str, ...], why: str
) -> None:
    """What is wrong with the configuration is said before the bank is asked."""
    exit_code, _, complaint = await ended(
        "login", *arguments, stdin=code(bank), **(variables(bank, kept) | changes)
    )
    assert exit_code != 0
    assert why in complaint
    assert len(bank.bank.codes) == 1


async def test_login_that_cannot_be_kept_has_failed(bank: Sandbox, tmp_path: Path) -> None:
    """A file that cannot be written is no success."""
    kept = tmp_path / "missing" / "login.json"
    exit_code, said, complaint = await ended("login", stdin=code(bank), **variables(bank, kept))
    assert exit_code == WRONG
    assert "Logged in" not in said
    assert "cannot be written" in complaint


@pytest.mark.parametrize(("name", "typed"), [("login", b""), ("revoke", b"  \n")])
async def test_nothing_on_standard_input(
    bank: Sandbox, kept: Path, name: str, typed: bytes
) -> None:
    """No code and no token is a mistake to tell, not a request to send."""
    exit_code, _, complaint = await ended(name, stdin=typed, **variables(bank, kept))
    assert exit_code == WRONG
    assert "expected one line" in complaint
    assert len(bank.bank.token_requests) == 0


async def test_revoke_ends_an_access_token(bank: Sandbox) -> None:
    """A token that has leaked is good no more; it shows in no output."""
    text = await issued(bank)
    exit_code, said, complaint = await ended("revoke", stdin=text.encode(), **variables(bank))
    assert (exit_code, said, complaint) == (0, "Revoked.", "")
    assert not bank.bank.good(bank.bank.tokens[text])


async def issued(bank: Sandbox) -> str:
    """Return an access token, as a proxy would get it."""
    app = make_app(bank.url)
    try:
        return (await app.tokens.token(TokenKey(TokenKind.V2, "00016"))).text
    finally:
        await app._core.close()


async def test_revoke_of_a_refresh_token_takes_its_access_tokens_along(
    bank: Sandbox, kept: Path
) -> None:
    """So one command ends a login."""
    await ended("login", stdin=code(bank), **variables(bank, kept))
    text = held(kept)["v2:00016"]["text"]
    exit_code, _, _ = await ended("revoke", stdin=text.encode(), **variables(bank))
    assert exit_code == 0
    assert list(bank.bank.live()) == []


async def test_revoke_that_the_bank_refuses(bank: Sandbox) -> None:
    """A token that the bank does not know is told, with its code, and without the token."""
    exit_code, _, complaint = await ended("revoke", stdin=b"token-of-another", **variables(bank))
    assert exit_code == FAILED
    assert "not revoked" in complaint
    assert "CMN_90018" in complaint
    assert "token-of-another" not in complaint


async def test_revoke_of_a_v1_token_says_that_it_cannot(bank: Sandbox) -> None:
    """Nothing is asked and nothing sent: the bank knows no such request."""
    exit_code, _, complaint = await ended(
        "revoke", "--kind", "v1", stdin=b"whatever", **variables(bank)
    )
    assert exit_code == FAILED
    assert "no way to revoke a V1 token" in complaint
    assert len(bank.bank.revocations) == 0


async def test_bank_that_is_down(tmp_path: Path, kept: Path) -> None:
    """Both commands say what is not reached."""
    async with Sandbox() as bank:
        environ = variables(bank, kept)
    for name in ("login", "revoke"):
        exit_code, _, complaint = await ended(name, stdin=b"text", **environ)
        assert exit_code == FAILED
        assert "The bank cannot be reached" in complaint


async def test_wait_returns_when_the_proxy_is_ready(bank: Sandbox, tmp_path: Path) -> None:
    """While the bank gives no token it waits; with the first one it exits 0."""
    bank.bank.faults.append(Fault("token", status=503))
    quick = {"backoff_initial": "0.1", "backoff_max": "0.2"}
    async with process(tmp_path / "x.yaml", bank.url, ready=False, token=quick) as running:
        waiting = asyncio.create_task(ended("wait", "--admin", running.admin))
        await until(lambda: len(list(running.program.logged("token refresh failed"))) > 1)
        assert not waiting.done()
        bank.bank.faults.clear()
        exit_code, said, _ = await waiting
        assert exit_code == 0
        assert json.loads(said)["status"] == "ready"


async def test_wait_gives_up_and_says_why(bank: Sandbox, tmp_path: Path) -> None:
    """A proxy that does not become ready in time: exit 1 with the reasons."""
    bank.bank.faults.append(Fault("token", code="CMN_90004"))
    async with process(tmp_path / "x.yaml", bank.url, ready=False) as running:
        exit_code, _, complaint = await ended("wait", "--timeout", "0.3", "--admin", running.admin)
        assert exit_code == FAILED
        assert "refused the client id and secret" in complaint


@pytest.mark.parametrize("name", ["wait", "healthcheck"])
async def test_nobody_answers(name: str) -> None:
    """Exit 1 with the address, not a traceback; a proxy for the way out is not asked."""
    arguments = ("--timeout", "0") if name == "wait" else ()
    exit_code, _, complaint = await ended(
        name, *arguments, "--admin", "127.0.0.1:9", http_proxy="http://127.0.0.1:1"
    )
    assert exit_code == FAILED
    assert complaint.startswith("candescent-proxy: nothing answers on 127.0.0.1:9")


async def test_wait_and_healthcheck_over_a_unix_socket(bank: Sandbox, tmp_path: Path) -> None:
    """Where the admin port is a socket file, both find it."""
    admin = f"unix:{tmp_path}/admin.sock"
    async with process(tmp_path / "x.yaml", bank.url, ready=False, admin=admin) as running:
        assert running.admin == admin
        for name in ("wait", "healthcheck"):
            assert (await ended(name, "--admin", admin))[0] == 0
