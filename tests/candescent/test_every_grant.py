"""Every grant through the running proxy."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from proxy.cli.commands.login import login
from proxy.cli.commands.token_endpoint import requested_key
from proxy.config import loader
from proxy.errors import ConfigError
from proxy.sandbox import Fault, IssuedToken, Sandbox
from proxy.tokens.token import TokenKey, TokenKind
from tests.candescent.setup import PASSWORD, V1_PATH, bank_fixture
from tests.support.proxy_fixture import proxy_fixture
from tests.support.running import CLIENT, DEADLINE, running, until


async def test_password_is_refreshed_by_refresh_tokens() -> None:
    """The password is sent once; each refresh token is used once."""
    async with bank_fixture(**PASSWORD) as there:
        assert (await there.echo())["grant"] == "password"
        for _ in range(3):
            there.bank.expire_all()
            assert (await there.echo())["grant"] == "refresh_token"
        assert there.grants == [("password", "ok")] + [("refresh_token", "ok")] * 3
        live = [t for t in there.bank.tokens.values() if t.refresh and not t.revoked]
        assert len(live) == 1


@pytest.mark.parametrize("expires_in", ["0", "0.4", "-1", "3_600"])
async def test_refresh_token_beside_an_unusable_token_is_used(expires_in: str) -> None:
    """The one before is void already: without the new one, a login would be lost."""
    hasty: dict[str, Any] = {"token": {"backoff_initial": "0.05"}}
    fault = Fault("token", expires_in=expires_in, grant="refresh_token", times=1)
    async with bank_fixture(None, fault, **PASSWORD, **hasty) as there:
        there.bank.expire_all()
        async with asyncio.timeout(DEADLINE):
            while (await there.call("/echo")).status != 200:  # noqa: ASYNC110 - a caller tries again
                await asyncio.sleep(0.02)
        assert there.grants == [("password", "ok")] + [("refresh_token", "ok")] * 2


async def test_password_after_a_dead_refresh_token() -> None:
    """It costs one refusal and no request fails."""
    async with bank_fixture(**PASSWORD) as there:
        there.bank.expire_all(refresh_tokens=True)
        assert (await there.echo())["grant"] == "password"
        there.bank.expire_all()
        assert (await there.echo())["grant"] == "refresh_token"
        assert there.grants == [
            ("password", "ok"),
            ("refresh_token", "CMN_90018"),
            ("password", "ok"),
            ("refresh_token", "ok"),
        ]


@pytest.mark.parametrize("code", ["CMN_90000", "CMN_90002", "CMN_90019/400"])
async def test_refresh_token_survives_an_outage(code: str) -> None:
    """It is tried again; the password is not sent."""
    async with bank_fixture(
        None, Fault("token", code=code, grant="refresh_token", times=1), **PASSWORD
    ) as there:
        there.bank.expire_all()
        await there.call("/echo")
        async with asyncio.timeout(DEADLINE):
            while (await there.call("/echo")).status != 200:  # noqa: ASYNC110 - a caller tries again
                await asyncio.sleep(0.02)
        assert [grant for grant, _ in there.grants] == [
            "password",
            "refresh_token",
            "refresh_token",
        ]


async def test_wrong_password() -> None:
    """The error has the bank's code, and is not retried in a loop."""
    async with bank_fixture(ready=False, username="juniper", password="wrong") as there:
        response = await there.call("/echo")
        assert (response.status, response.error) == (503, "token token-bad-user")
        assert response.json()["code"] == "CMN_90015"
        assert len(there.grants) <= 2


async def test_v1_password() -> None:
    """Its refresh token cannot be used."""
    async with bank_fixture(**PASSWORD) as there:
        path = V1_PATH.format("00016")
        assert (await there.echo(path))["grant"] == "password"
        there.bank.expire_all()
        assert (await there.echo(path))["grant"] == "password"
        v1 = [asked.grant for asked in there.bank.token_requests if asked.kind == "V1"]
        assert v1 == ["password", "password"]


def login_settings(file: Path) -> dict[str, Any]:
    """Return settings for a login that is stored in a file."""
    return {"grant": "authorization_code", "refresh_token_file": str(file)}


async def log_in(sandbox: Sandbox, file: Path, code: str) -> int:
    """Run ``candescent-proxy login``; return its exit code."""
    where = {"base_url": sandbox.url, "institution_id": "00016"}
    config = loader.load(None, {}, CLIENT | where | login_settings(file))
    return await login(config, loader.logins(config), TokenKey(TokenKind.V2, "00016"), code)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A bank that outlives the proxies."""
    async with Sandbox() as bank:
        yield bank


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of the refresh token file."""
    return tmp_path / "login.json"


def stored(file: Path) -> str:
    """Return the content of the file; empty without one."""
    return file.read_text(encoding="ascii") if file.exists() else ""


def mode(file: Path) -> int:
    """Return the permission bits of the file."""
    return file.stat().st_mode & 0o777


async def test_login_with_a_code(
    sandbox: Sandbox, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refresh token is in a private file, which the proxy updates."""
    code = sandbox.bank.code_for("juniper.quill")
    assert await log_in(sandbox, file, code) == 0
    first = stored(file)
    for _ in range(2):
        async with bank_fixture(sandbox, **login_settings(file)) as there:
            assert (await there.echo())["grant"] == "refresh_token"
    grants = [asked.grant for asked in sandbox.bank.token_requests]
    assert grants == ["authorization_code", "refresh_token", "refresh_token"]
    assert mode(file) == 0o600
    assert stored(file) != first
    shown = capsys.readouterr()
    held = [token.text for token in sandbox.bank.tokens.values()]
    assert not [text for text in (code, *held) if text in shown.out + shown.err]


async def test_login_survives_a_stop_during_its_renewal(sandbox: Sandbox, file: Path) -> None:
    """The bank has replaced the refresh token before the proxy reads the response."""
    assert await log_in(sandbox, file, sandbox.bank.code_for("juniper.quill")) == 0
    sandbox.bank.settings = replace(sandbox.bank.settings, token_latency=0.5)
    async with bank_fixture(sandbox, ready=False, **login_settings(file)):
        await until(lambda: len(sandbox.bank.token_requests) == 2)
    async with bank_fixture(sandbox, **login_settings(file)) as there:
        assert (await there.echo())["grant"] == "refresh_token"
    assert {asked.outcome for asked in sandbox.bank.token_requests} == {"ok"}


async def test_login_survives_a_reload_during_its_renewal(sandbox: Sandbox, file: Path) -> None:
    """The core before and the one after use each refresh token once."""
    assert await log_in(sandbox, file, sandbox.bank.code_for("juniper.quill")) == 0
    (file.parent / "secret").write_text("sandbox-secret\n")
    settings = login_settings(file) | {"client_secret_file": str(file.parent / "secret")}
    async with proxy_fixture(file.parent / "c.yaml", sandbox, **settings) as proxy:
        sandbox.bank.expire_all()
        sandbox.bank.settings = replace(sandbox.bank.settings, token_latency=1.0)
        calls = [asyncio.ensure_future(proxy.call())]
        await until(lambda: len(sandbox.bank.token_requests) == 3)
        proxy.write(replay={"max_body": "1KiB"})
        await proxy.wait_for_reload()
        calls.append(asyncio.ensure_future(proxy.call()))
        assert await asyncio.gather(*calls) == [200, 200]
    assert {asked.outcome for asked in sandbox.bank.token_requests} == {"ok"}


async def test_unwritable_file_fails_no_request(tmp_path: Path) -> None:
    """It is a warning."""
    with capture_logs() as logs:
        nowhere = str(tmp_path / "missing" / "file")
        async with bank_fixture(refresh_token_file=nowhere, **PASSWORD) as there:
            there.bank.expire_all()
            assert (await there.echo())["grant"] == "refresh_token"
    said = {entry["event"] for entry in logs if "cannot be written" in entry["event"]}
    assert said == {f"refresh_token_file: {nowhere} cannot be written (No such file or directory)"}


async def test_v1_with_a_login_by_code(sandbox: Sandbox, file: Path) -> None:
    """V1 calls use the application's credentials."""
    assert await log_in(sandbox, file, sandbox.bank.code_for("juniper.quill")) == 0
    async with bank_fixture(sandbox, **login_settings(file)) as there:
        assert (await there.echo(V1_PATH.format("00016")))["grant"] == "client_credentials"


async def test_code_used_twice_is_an_error(
    sandbox: Sandbox, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first login stays."""
    code = sandbox.bank.code_for("juniper.quill")
    assert await log_in(sandbox, file, code) == 0
    held = stored(file)
    assert await log_in(sandbox, file, code) == 1
    assert stored(file) == held
    reported = capsys.readouterr().err
    assert "not logged in" in reported
    assert code not in reported


async def test_login_with_an_unwritable_file_fails(sandbox: Sandbox, file: Path) -> None:
    """The token is not lost silently."""
    nowhere = file.parent / "missing" / "login.json"
    with pytest.raises(ConfigError, match=r"refresh_token_file: .*cannot be written"):
        await log_in(sandbox, nowhere, sandbox.bank.code_for("juniper.quill"))


async def test_login_without_a_refresh_token_fails(
    sandbox: Sandbox, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bank may return none."""
    sandbox.bank.faults.append(Fault("token", without=("refresh_token",)))
    assert await log_in(sandbox, file, sandbox.bank.code_for("juniper.quill")) == 1
    assert "no refresh token" in capsys.readouterr().err
    assert stored(file) == ""


async def test_expired_login_is_explained(sandbox: Sandbox, file: Path) -> None:
    """A new login is used without a restart."""
    async with bank_fixture(sandbox, ready=False, **login_settings(file)) as there:
        for _ in range(2):
            response = await there.call("/echo")
            assert (response.status, response.error) == (503, "token token-login-needed")
            assert "candescent-proxy login" in response.json()["remedy"]
            assert await log_in(sandbox, file, sandbox.bank.code_for("juniper.quill")) == 0
            await until(lambda: there.app.readiness().is_ready)
            assert (await there.call("/echo")).status == 200
            sandbox.bank.expire_all(refresh_tokens=True)


async def test_login_survives_a_refused_client(sandbox: Sandbox, file: Path) -> None:
    """It is used afterwards."""
    assert await log_in(sandbox, file, sandbox.bank.code_for("juniper.quill")) == 0
    refused = Fault("token", code="CMN_90004", grant="refresh_token", times=2)
    async with bank_fixture(sandbox, refused, **login_settings(file)):
        assert refused.is_used_up


async def test_two_proxies_share_a_login(sandbox: Sandbox, file: Path) -> None:
    """One uses the newer refresh token of the other."""
    assert await log_in(sandbox, file, sandbox.bank.code_for("juniper.quill")) == 0
    async with (
        bank_fixture(sandbox, **login_settings(file)) as one,
        bank_fixture(sandbox, **login_settings(file)) as two,
    ):
        for there in (one, two, one, two):
            sandbox.bank.expire_all()
            assert (await there.call("/echo")).status == 200


async def test_static_token(sandbox: Sandbox) -> None:
    """A warning; no refresh; a refusal goes to the caller."""
    draft = IssuedToken("V2", "sandbox-client", "00016", "client_credentials")
    bearer = sandbox.bank.issue(draft, 60).text
    with capture_logs() as logs:
        async with bank_fixture(sandbox, bearer_token=bearer) as there:
            assert (await there.call("/echo")).status == 200
            sandbox.bank.expire_all()
            refused = await there.call("/echo")
            assert (refused.status, refused.json()["code"]) == (401, "CMN_90018")
    assert not sandbox.bank.token_requests
    assert [arrival.status for arrival in sandbox.bank.arrivals] == [200, 401]
    (warning,) = [entry for entry in logs if "bearer_token is set" in entry["event"]]
    assert warning["log_level"] == "warning"
    assert bearer not in str(logs)


async def test_listener_logs_in_with_a_code_of_its_own(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two users of one institution, each with a file; a new proxy knows both."""
    users = {"alice": "juniper.quill", "bob": "acorn.owner"}
    listeners = {
        name: {"listen": "127.0.0.1:0", **login_settings(tmp_path / name)} for name in users
    }
    where = {"base_url": sandbox.url, "institution_id": "00016", "listeners": listeners}
    config = loader.load(None, {}, CLIENT | where)
    for name, user in users.items():
        key = requested_key(config, TokenKind.V2, None, name)
        code = sandbox.bank.code_for(user)
        assert await login(config, loader.logins(config), key, code) == 0
        assert f"listener {name}; kept in {tmp_path / name}" in capsys.readouterr().out
    for _ in range(2):
        async with running(sandbox, listeners=listeners) as app:
            for name, user in users.items():
                async with aiohttp.request("GET", f"http://{app.addresses[name]}/echo") as response:
                    assert response.status == 200
                sent = (sandbox.bank.arrivals[-1].header("Authorization") or "").split()[-1]
                owner = sandbox.bank.tokens[sent].user
                assert owner is not None
                assert owner.login_id == user
    with pytest.raises(ValueError, match="no login of its own"):
        requested_key(config, TokenKind.V2, None, "main")
