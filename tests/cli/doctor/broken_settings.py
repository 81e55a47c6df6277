"""Broken set-ups: the configuration, and certificates of our own."""

from tests.cli.doctor.healthy_setup import World, certificate
from tests.cli.doctor.setups import Steps, setup
from tests.support.mounted_files import write


@setup
async def file_that_is_not_there(world: World) -> Steps:
    """The file was never written, or stands elsewhere."""
    text = world.file.read_text()
    world.file.unlink()
    _ = yield "config-unreadable"
    write(world.file, text)
    world.file.chmod(0o644)


@setup
async def misspelt_setting(world: World) -> Steps:
    """A letter is missing."""
    world.set(lisen="127.0.0.1:0")
    finding = yield "config-mistake"
    assert "did you mean listen?" in finding.text
    world.set(lisen=None)


@setup
async def variable_left_in_the_shell(world: World) -> Steps:
    """The file is right, and the environment has the same secret of another day."""
    world.environ["CANDESCENT_CLIENT_SECRET"] = "sandbox-secret"
    finding = yield "config-overridden"
    assert "client_secret_file" in finding.text
    assert finding.cure.endswith("unset CANDESCENT_CLIENT_SECRET.")
    del world.environ["CANDESCENT_CLIENT_SECRET"]


@setup
async def file_that_others_may_change(world: World) -> Steps:
    """Whoever changes base_url gets the next token."""
    world.file.chmod(0o666)
    finding = yield "config-writable"
    world.obey(finding.cure)


@setup
async def certificate_that_is_none(world: World) -> Steps:
    """The setting names some other file."""
    file = world.folder / "server.pem"
    write(file, "not a certificate\n")
    world.set(callers={"certificate_file": str(file)})
    finding = yield "file-unusable"
    assert "callers.certificate_file" in finding.text
    certificate(file, "localhost", until=30)


@setup
async def certificate_that_is_over(world: World) -> Steps:
    """Nobody has renewed what the proxy shows to applications."""
    file = certificate(world.folder / "server.pem", "localhost", since=-9, until=-1)
    world.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-over"
    certificate(file, "localhost", until=30)


@setup
async def certificate_that_is_almost_over(world: World) -> Steps:
    """A week is left."""
    file = certificate(world.folder / "server.pem", "localhost", until=7)
    world.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-ending"
    certificate(file, "localhost", until=30)
