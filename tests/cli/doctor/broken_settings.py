"""Broken set-ups: the configuration, and certificates of our own."""

from tests.cli.doctor.healthy_setup import DoctorSetup, certificate
from tests.cli.doctor.setups import Steps, setup
from tests.support.mounted_files import write


@setup
async def file_that_is_not_there(setup: DoctorSetup) -> Steps:
    """The file was never written, or stands elsewhere."""
    text = setup.file.read_text()
    setup.file.unlink()
    _ = yield "config-unreadable"
    write(setup.file, text)
    setup.file.chmod(0o644)


@setup
async def misspelt_setting(setup: DoctorSetup) -> Steps:
    """A letter is missing."""
    setup.set(lisen="127.0.0.1:0")
    finding = yield "config-invalid"
    assert "did you mean listen?" in finding.text
    setup.set(lisen=None)


@setup
async def variable_left_in_the_shell(setup: DoctorSetup) -> Steps:
    """The file is right, and the environment has the same secret of another day."""
    setup.environ["CANDESCENT_CLIENT_SECRET"] = "sandbox-secret"
    finding = yield "config-overridden"
    assert "client_secret_file" in finding.text
    assert finding.fix.endswith("unset CANDESCENT_CLIENT_SECRET.")
    del setup.environ["CANDESCENT_CLIENT_SECRET"]


@setup
async def file_that_others_may_change(setup: DoctorSetup) -> Steps:
    """Whoever changes base_url gets the next token."""
    setup.file.chmod(0o666)
    finding = yield "config-writable"
    setup.run_fix(finding.fix)


@setup
async def certificate_that_is_none(setup: DoctorSetup) -> Steps:
    """The setting names some other file."""
    file = setup.folder / "server.pem"
    write(file, "not a certificate\n")
    setup.set(callers={"certificate_file": str(file)})
    finding = yield "file-unusable"
    assert "callers.certificate_file" in finding.text
    certificate(file, "localhost", until=30)


@setup
async def certificate_that_is_over(setup: DoctorSetup) -> Steps:
    """Nobody has renewed what the proxy shows to applications."""
    file = certificate(setup.folder / "server.pem", "localhost", since=-9, until=-1)
    setup.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-expired"
    certificate(file, "localhost", until=30)


@setup
async def certificate_that_is_almost_over(setup: DoctorSetup) -> Steps:
    """A week is left."""
    file = certificate(setup.folder / "server.pem", "localhost", until=7)
    setup.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-expiring"
    certificate(file, "localhost", until=30)
