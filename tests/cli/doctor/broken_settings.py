"""Broken set-ups: the configuration, and the proxy's own certificates."""

from tests.cli.doctor.healthy_setup import DoctorSetup, certificate
from tests.cli.doctor.setups import Steps, setup
from tests.support.mounted_files import write


@setup
async def missing_file(setup: DoctorSetup) -> Steps:
    """It was never written, or is elsewhere."""
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
async def variable_overrides_the_file(setup: DoctorSetup) -> Steps:
    """The environment has an older secret."""
    setup.environ["CANDESCENT_CLIENT_SECRET"] = "sandbox-secret"
    finding = yield "config-overridden"
    assert "client_secret_file" in finding.text
    assert finding.fix.endswith("unset CANDESCENT_CLIENT_SECRET.")
    del setup.environ["CANDESCENT_CLIENT_SECRET"]


@setup
async def file_writable_by_others(setup: DoctorSetup) -> Steps:
    """A changed base_url would get the next token."""
    setup.file.chmod(0o666)
    finding = yield "config-writable"
    setup.run_fix(finding.fix)


@setup
async def invalid_certificate(setup: DoctorSetup) -> Steps:
    """The setting names another file."""
    file = setup.folder / "server.pem"
    write(file, "not a certificate\n")
    setup.set(callers={"certificate_file": str(file)})
    finding = yield "file-unusable"
    assert "callers.certificate_file" in finding.text
    certificate(file, "localhost", until=30)


@setup
async def expired_certificate(setup: DoctorSetup) -> Steps:
    """The listener's certificate was not renewed."""
    file = certificate(setup.folder / "server.pem", "localhost", since=-9, until=-1)
    setup.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-expired"
    certificate(file, "localhost", until=30)


@setup
async def certificate_about_to_expire(setup: DoctorSetup) -> Steps:
    """In a week."""
    file = certificate(setup.folder / "server.pem", "localhost", until=7)
    setup.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-expiring"
    certificate(file, "localhost", until=30)
