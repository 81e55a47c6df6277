"""Warnings of files with secrets that other users can read or change."""

import os
from pathlib import Path

import pytest

from proxy.config import loader
from proxy.config.model import Config
from proxy.runtime.exposed_files import is_exposed, warnings
from tests.support import needs
from tests.support.program import ANYWHERE, CREDENTIALS, program, run_program
from tests.support.running import CLIENT, until

BANK = {"CANDESCENT_BASE_URL": "http://127.0.0.1:9"}


def load(**settings: str) -> Config:
    """Return a configuration with these settings."""
    base = {"base_url": "http://127.0.0.1:9", "institution_id": "00016"}
    return loader.load(None, {}, {**CLIENT, **base, **settings})


@pytest.mark.parametrize(
    ("mode", "own", "other"),
    [
        (0o600, False, False),
        (0o400, False, False),
        (0o440, True, False),
        (0o460, True, True),
        (0o644, True, True),
        (0o602, True, True),
        (0o666, True, True),
    ],
)
def test_modes_that_expose_a_file(mode: int, *, own: bool, other: bool) -> None:
    """The group may read a file of another user, as Kubernetes mounts secrets."""
    assert is_exposed(mode, is_own=True) is own
    assert is_exposed(mode, is_own=False) is other


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o666])
def test_exposed_secret_is_named(tmp_path: Path, mode: int) -> None:
    """With its setting, path and mode, and never with its content."""
    file = tmp_path / "secret"
    file.write_text("tell-nobody")
    file.chmod(mode)
    said = list(warnings(load(password_file=str(file), username="u", grant="password")))
    assert len(said) == (mode != 0o600)
    for text in said:
        assert text.startswith(f"password_file: other users can read or change {file}")
        assert f"mode {mode:o}" in text
        assert "tell-nobody" not in text


@pytest.mark.parametrize(("mode", "is_open"), [(0o777, True), (0o1777, False), (0o775, False)])
def test_file_that_others_can_replace_is_named(tmp_path: Path, mode: int, *, is_open: bool) -> None:
    """In a folder for everyone, unless only owners can remove files there."""
    file = tmp_path / "secret"
    file.write_text("tell-nobody")
    file.chmod(0o600)
    tmp_path.chmod(mode)
    said = list(warnings(load(password_file=str(file), username="u", grant="password")))
    assert len(said) == is_open
    for text in said:
        assert text.startswith(f"password_file: other users can replace {file}")
        assert f"mode {mode:o}" in text


def test_certificate_without_a_key_is_no_secret(tmp_path: Path) -> None:
    """A file with a private key in it is one."""
    file = tmp_path / "cert.pem"
    file.write_text("-----BEGIN CERTIFICATE-----")
    file.chmod(0o644)
    config = load(upstream={"certificate_file": str(file)})  # type: ignore[arg-type]
    assert list(warnings(config)) == []
    file.write_text("-----BEGIN EC PRIVATE KEY-----")
    assert [text.partition(":")[0] for text in warnings(config)] == ["upstream.certificate_file"]


async def test_check_config_and_start_warn(tmp_path: Path) -> None:
    """``check-config`` says it on standard error and succeeds; the proxy logs it."""
    file = tmp_path / "secret"
    file.write_text("sandbox-secret")
    file.chmod(0o666)
    variables = {**CREDENTIALS, **BANK, "CANDESCENT_CLIENT_SECRET_FILE": str(file)}
    variables.pop("CANDESCENT_CLIENT_SECRET", None)
    code, out, err = await run_program("check-config", **variables)
    assert (code, "The configuration is valid" in out) == (0, True)
    assert f"Warning: client_secret_file: other users can read or change {file}" in err


@needs.skip_if(os.geteuid() != 0, "only root can give a file to another user", "make test as root")
@pytest.mark.parametrize("owner", [0, 12345])
async def test_refresh_token_file_of_another_user_is_refused(tmp_path: Path, owner: int) -> None:
    """It would be another person's login."""
    file = tmp_path / "login.json"
    file.write_text("{}")
    os.chown(file, owner, owner)
    variables = {**CREDENTIALS, **BANK, "CANDESCENT_REFRESH_TOKEN_FILE": str(file)}
    code, _, err = await run_program("check-config", **variables)
    assert (code != 0) is (owner != 0)
    assert ("belongs to another user" in err) is (owner != 0)


async def test_start_warns(tmp_path: Path) -> None:
    """Before it listens."""
    file = tmp_path / "secret"
    file.write_text("sandbox-secret")
    file.chmod(0o666)
    variables = {**CREDENTIALS, **BANK, "CANDESCENT_CLIENT_SECRET_FILE": str(file)}
    variables.pop("CANDESCENT_CLIENT_SECRET")
    async with program("run", *ANYWHERE, **variables) as running:
        await until(lambda: "client_secret_file: other users can read" in str(running.err))


@pytest.mark.parametrize("where", ["client_secret_file", "client_secret"])
def test_doubtful_secret_is_a_warning(where: str, tmp_path: Path) -> None:
    """Without the secret: quotes may belong to it."""
    file = tmp_path / "secret"
    file.write_text("'tell-nobody'\n")
    file.chmod(0o600)
    given = {**CLIENT, where: str(file) if where.endswith("_file") else "'tell-nobody'"}
    base = {"base_url": "http://127.0.0.1:9", "institution_id": "00016", **given}
    if where != "client_secret":
        del base["client_secret"]
    (text,) = warnings(loader.load(None, {}, base))
    assert text.startswith(f"{where}: ")
    assert "is in quotes" in text
    assert "tell-nobody" not in text
