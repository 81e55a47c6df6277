"""Broken set-ups: secret files."""

from proxy.cli.commands.login import login
from proxy.config import loader
from tests.cli.doctor.healthy_setup import World, certificate
from tests.cli.doctor.setups import Steps, setup


@setup
async def secret_that_is_missing(world: World) -> Steps:
    """The file is not there."""
    world.secret.unlink()
    _ = yield "secret-missing"
    world.hold()


@setup
async def secret_that_is_a_folder(world: World) -> Steps:
    """The setting names the folder that the secret is in."""
    (world.folder / "folder").mkdir()
    world.set(client_secret_file=str(world.folder / "folder"))
    _ = yield "secret-unreadable"
    world.set(client_secret_file=str(world.secret))


@setup
async def secret_that_is_empty(world: World) -> Steps:
    """A line end is all there is."""
    world.hold("\n")
    _ = yield "secret-empty"
    world.hold()


@setup
async def secret_with_a_mark(world: World) -> Steps:
    """Notepad has saved it as UTF-8 with a byte-order mark."""
    world.hold(b"\xef\xbb\xbfsandbox-secret\r\n")
    _ = yield "secret-mark"
    world.hold()


@setup
async def secret_from_powershell(world: World) -> Steps:
    """Out-File has written UTF-16."""
    world.hold("sandbox-secret\r\n".encode("utf-16"))
    _ = yield "secret-mark"
    world.hold("sandbox-secret\r\n")


@setup
async def secret_with_more_lines(world: World) -> Steps:
    """The whole page of the console was pasted."""
    world.hold("Shared Key\nsandbox-client\nSecret Key\nsandbox-secret\n")
    finding = yield "secret-lines"
    assert "4 lines" in finding.text
    world.hold()


@setup
async def secret_with_a_dash_of_a_word_processor(world: World) -> Steps:
    """A document has made a long dash of the short one."""
    world.hold("sandbox\u2013secret")
    _ = yield "secret-letters"
    world.hold()


@setup
async def secret_that_others_can_read(world: World) -> Steps:
    """It was written without a thought of the mode."""
    world.secret.chmod(0o644)
    finding = yield "secret-exposed"
    world.obey(finding.cure)


@setup
async def key_that_others_can_read(world: World) -> Steps:
    """The key of the listening side's certificate."""
    file = certificate(world.folder / "server.pem", "localhost", until=30)
    file.chmod(0o644)
    world.set(callers={"certificate_file": str(file)})
    finding = yield "secret-exposed"
    assert "callers.certificate_file" in finding.text
    world.obey(finding.cure)


@setup
async def login_that_others_can_read(world: World) -> Steps:
    """A refresh token is as good as a password."""
    file = world.folder / "login.json"
    file.write_text("{}")
    world.set(refresh_token_file=str(file))
    file.chmod(0o644)
    finding = yield "secret-exposed"
    world.obey(finding.cure)


@setup
async def login_that_has_no_folder(world: World) -> Steps:
    """Where the login shall be kept, nothing can be written."""
    folder = world.folder / "logins"
    world.set(refresh_token_file=str(folder / "login.json"))
    finding = yield "login-folder"
    assert str(folder) in finding.text
    folder.mkdir()


@setup
async def nobody_logged_in(world: World) -> Steps:
    """The grant needs a person, and none was there."""
    world.set(grant="authorization_code", refresh_token_file=str(world.folder / "login.json"))
    finding = yield "login-needed"
    assert finding.cure == "candescent-proxy login"
    config = loader.load(world.file, {}, {})
    code = world.bank.bank.code_for("juniper.quill", institution="00016")
    assert await login(config, loader.logins(config), None, code) == 0
