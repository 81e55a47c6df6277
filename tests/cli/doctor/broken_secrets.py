"""Broken set-ups: secret files."""

from proxy.cli.commands.login import login
from proxy.config import loader
from proxy.tokens.token import TokenKey, TokenKind
from tests.cli.doctor.healthy_setup import DoctorSetup, certificate
from tests.cli.doctor.setups import Steps, setup


@setup
async def missing_secret(setup: DoctorSetup) -> Steps:
    """The file does not exist."""
    setup.secret.unlink()
    _ = yield "secret-missing"
    setup.write_secret()


@setup
async def secret_is_a_folder(setup: DoctorSetup) -> Steps:
    """The setting names the folder of the secret."""
    (setup.folder / "folder").mkdir()
    setup.set(client_secret_file=str(setup.folder / "folder"))
    _ = yield "secret-unreadable"
    setup.set(client_secret_file=str(setup.secret))


@setup
async def empty_secret(setup: DoctorSetup) -> Steps:
    """It has a line end only."""
    setup.write_secret("\n")
    _ = yield "secret-empty"
    setup.write_secret()


@setup
async def secret_with_byte_order_mark(setup: DoctorSetup) -> Steps:
    """Notepad has saved it as UTF-8."""
    setup.write_secret(b"\xef\xbb\xbfsandbox-secret\r\n")
    _ = yield "secret-byte-order-mark"
    setup.write_secret()


@setup
async def secret_in_utf_16(setup: DoctorSetup) -> Steps:
    """PowerShell's Out-File has written it."""
    setup.write_secret("sandbox-secret\r\n".encode("utf-16"))
    _ = yield "secret-byte-order-mark"
    setup.write_secret("sandbox-secret\r\n")


@setup
async def secret_with_several_lines(setup: DoctorSetup) -> Steps:
    """A whole page was pasted."""
    setup.write_secret("Shared Key\nsandbox-client\nSecret Key\nsandbox-secret\n")
    _ = yield "secret-lines"
    setup.write_secret()


@setup
async def secret_with_a_dash(setup: DoctorSetup) -> Steps:
    """A word processor has replaced a hyphen."""
    setup.write_secret("sandbox\u2013secret")
    _ = yield "secret-not-ascii"
    setup.write_secret()


@setup
async def secret_of_an_env_file(setup: DoctorSetup) -> Steps:
    """A line of an environment file."""
    setup.write_secret("CANDESCENT_CLIENT_SECRET=sandbox-secret")
    _ = yield "secret-named"
    setup.write_secret()


@setup
async def secret_readable_by_others(setup: DoctorSetup) -> Steps:
    """The default mode was used."""
    setup.secret.chmod(0o644)
    finding = yield "secret-exposed"
    setup.run_fix(finding.fix)


@setup
async def key_readable_by_others(setup: DoctorSetup) -> Steps:
    """The key of the listener's certificate."""
    file = certificate(setup.folder / "server.pem", "localhost", until=30)
    file.chmod(0o644)
    setup.set(callers={"certificate_file": str(file)})
    finding = yield "secret-exposed"
    assert "callers.certificate_file" in finding.text
    setup.run_fix(finding.fix)


@setup
async def login_readable_by_others(setup: DoctorSetup) -> Steps:
    """A refresh token is as sensitive as a password."""
    file = setup.folder / "login.json"
    file.write_text("{}")
    setup.set(refresh_token_file=str(file))
    file.chmod(0o644)
    finding = yield "secret-exposed"
    setup.run_fix(finding.fix)


@setup
async def login_without_a_folder(setup: DoctorSetup) -> Steps:
    """The file cannot be written."""
    folder = setup.folder / "logins"
    setup.set(refresh_token_file=str(folder / "login.json"))
    finding = yield "login-folder"
    assert str(folder) in finding.text
    folder.mkdir()


@setup
async def missing_login(setup: DoctorSetup) -> Steps:
    """The grant needs a login, and there was none."""
    setup.set(grant="authorization_code", refresh_token_file=str(setup.folder / "login.json"))
    finding = yield "token-login-needed"
    assert "candescent-proxy login" in finding.fix
    config = loader.load(setup.file, {}, {})
    code = setup.bank.bank.code_for("juniper.quill", institution="00016")
    key = TokenKey(TokenKind.V2, "00016")
    assert await login(config, loader.logins(config), key, code) == 0
