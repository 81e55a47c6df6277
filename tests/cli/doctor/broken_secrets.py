"""Broken set-ups: secret files."""

from proxy.cli.commands.login import login
from proxy.config import loader
from tests.cli.doctor.healthy_setup import DoctorSetup, certificate
from tests.cli.doctor.setups import Steps, setup


@setup
async def secret_that_is_missing(setup: DoctorSetup) -> Steps:
    """The file is not there."""
    setup.secret.unlink()
    _ = yield "secret-missing"
    setup.write_secret()


@setup
async def secret_that_is_a_folder(setup: DoctorSetup) -> Steps:
    """The setting names the folder that the secret is in."""
    (setup.folder / "folder").mkdir()
    setup.set(client_secret_file=str(setup.folder / "folder"))
    _ = yield "secret-unreadable"
    setup.set(client_secret_file=str(setup.secret))


@setup
async def secret_that_is_empty(setup: DoctorSetup) -> Steps:
    """A line end is all there is."""
    setup.write_secret("\n")
    _ = yield "secret-empty"
    setup.write_secret()


@setup
async def secret_with_a_mark(setup: DoctorSetup) -> Steps:
    """Notepad has saved it as UTF-8 with a byte-order mark."""
    setup.write_secret(b"\xef\xbb\xbfsandbox-secret\r\n")
    _ = yield "secret-byte-order-mark"
    setup.write_secret()


@setup
async def secret_from_powershell(setup: DoctorSetup) -> Steps:
    """Out-File has written UTF-16."""
    setup.write_secret("sandbox-secret\r\n".encode("utf-16"))
    _ = yield "secret-byte-order-mark"
    setup.write_secret("sandbox-secret\r\n")


@setup
async def secret_with_more_lines(setup: DoctorSetup) -> Steps:
    """The whole page of the console was pasted."""
    setup.write_secret("Shared Key\nsandbox-client\nSecret Key\nsandbox-secret\n")
    finding = yield "secret-lines"
    assert "4 lines" in finding.text
    setup.write_secret()


@setup
async def secret_with_a_dash_of_a_word_processor(setup: DoctorSetup) -> Steps:
    """A document has made a long dash of the short one."""
    setup.write_secret("sandbox\u2013secret")
    _ = yield "secret-not-ascii"
    setup.write_secret()


@setup
async def secret_that_others_can_read(setup: DoctorSetup) -> Steps:
    """It was written without a thought of the mode."""
    setup.secret.chmod(0o644)
    finding = yield "secret-exposed"
    setup.run_fix(finding.fix)


@setup
async def key_that_others_can_read(setup: DoctorSetup) -> Steps:
    """The key of the listening side's certificate."""
    file = certificate(setup.folder / "server.pem", "localhost", until=30)
    file.chmod(0o644)
    setup.set(callers={"certificate_file": str(file)})
    finding = yield "secret-exposed"
    assert "callers.certificate_file" in finding.text
    setup.run_fix(finding.fix)


@setup
async def login_that_others_can_read(setup: DoctorSetup) -> Steps:
    """A refresh token is as good as a password."""
    file = setup.folder / "login.json"
    file.write_text("{}")
    setup.set(refresh_token_file=str(file))
    file.chmod(0o644)
    finding = yield "secret-exposed"
    setup.run_fix(finding.fix)


@setup
async def login_that_has_no_folder(setup: DoctorSetup) -> Steps:
    """Where the login shall be kept, nothing can be written."""
    folder = setup.folder / "logins"
    setup.set(refresh_token_file=str(folder / "login.json"))
    finding = yield "login-folder"
    assert str(folder) in finding.text
    folder.mkdir()


@setup
async def nobody_logged_in(setup: DoctorSetup) -> Steps:
    """The grant needs a person, and none was there."""
    setup.set(grant="authorization_code", refresh_token_file=str(setup.folder / "login.json"))
    finding = yield "token-login-needed"
    assert "candescent-proxy login" in finding.fix
    config = loader.load(setup.file, {}, {})
    code = setup.bank.bank.code_for("juniper.quill", institution="00016")
    assert await login(config, loader.logins(config), None, code) == 0
