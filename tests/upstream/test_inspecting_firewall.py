"""The certificates of a firewall that inspects TLS, which lack fields that RFC 5280 requires."""

import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.errors import UpstreamError, UpstreamFailure, kinds
from proxy.upstream.tls import UpstreamTls, client_context
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support.certificates import server_context
from tests.support.dialing import make_pool
from tests.support.running import until
from tests.support.upstream_server import ScriptedUpstream, respond_to_all

EVERY_LOOP = True

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Firewall:
    """An authority without key usage, whose certificates do not name its key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "firewall")])
        authority = (
            x509.CertificateBuilder(
                self.name, self.name, self.key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file = folder / "firewall.pem"
        self.file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))

    def server(self, address: str = "127.0.0.1", until: datetime.timedelta = DAY) -> ssl.SSLContext:
        """Return the context of a server with a certificate for an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bank")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        certificate = (
            x509.CertificateBuilder(self.name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(NOW - 3 * DAY)
            .not_valid_after(NOW + until)
            .add_extension(names, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = self.folder / f"{certificate.serial_number}.pem"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem)
        return server_context(file)


@pytest.fixture
def firewall(tmp_path: Path) -> Firewall:
    """One on the way to the bank."""
    return Firewall(tmp_path)


async def failure(server: ssl.SSLContext, trust: ssl.SSLContext) -> UpstreamFailure:
    """Return why a connection fails."""
    async with ScriptedUpstream(respond_to_all(), tls=server) as upstream:
        pool = make_pool("127.0.0.1", upstream.port, trust)
        with pytest.raises(UpstreamError) as caught:
            await pool.connect()
        await until(lambda: upstream.open == 0)
        return caught.value.reason


async def test_named_in_the_ca_file(firewall: Firewall) -> None:
    """It is trusted on every Python, also where that verifies strictly by itself (3.13)."""
    trust = client_context(firewall.file)
    assert not trust.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
    async with ScriptedUpstream(respond_to_all(), tls=firewall.server()) as upstream:
        pool = make_pool("127.0.0.1", upstream.port, trust)
        (await pool.connect()).abort()
        pool.close()
        await until(lambda: upstream.open == 0)


async def test_chain_name_and_dates_are_checked(firewall: Firewall, tmp_path: Path) -> None:
    """Only the fields are not."""
    trust = client_context(firewall.file)
    (tmp_path / "other").mkdir()
    other = Firewall(tmp_path / "other")
    assert await failure(firewall.server("192.0.2.1"), trust) is kinds.UPSTREAM_TLS_NAME
    assert await failure(firewall.server(until=-DAY), trust) is kinds.UPSTREAM_TLS_EXPIRED
    # The same name, another key.
    assert await failure(other.server(), trust) in (
        kinds.UPSTREAM_TLS_UNTRUSTED,
        kinds.UPSTREAM_TLS_UNSUITABLE,
    )


async def test_strict_verification_has_a_cause_of_its_own(firewall: Firewall) -> None:
    """As with the system's authorities on Python 3.13: the error names what helps."""
    trust = client_context(firewall.file)
    trust.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    kind = await failure(firewall.server(), trust)
    assert kind is kinds.UPSTREAM_TLS_INCOMPLETE
    assert "upstream.ca_file" in kind.remedy


async def test_store_of_the_operating_system(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trusted where the system trusts it, without naming it; a stranger is not."""
    settings = UpstreamSettings(system_store=True)
    tls = UpstreamTls.load(settings, https=True)
    assert tls.context is not None
    assert await failure(firewall.server(), tls.context) is kinds.UPSTREAM_TLS_UNTRUSTED
    monkeypatch.setenv("SSL_CERT_FILE", str(firewall.file))
    async with ScriptedUpstream(respond_to_all(), tls=firewall.server()) as upstream:
        pool = make_pool("127.0.0.1", upstream.port, tls.context)
        (await pool.connect()).abort()
        pool.close()
        await until(lambda: upstream.open == 0)
