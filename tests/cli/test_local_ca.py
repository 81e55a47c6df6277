"""The local authority, verified by OpenSSL and Python at their strictest."""

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.cli.local_ca import (
    ALWAYS,
    MAX_DAYS,
    AuthorityError,
    LocalAuthority,
    certificate_pem,
    general_name,
    key_pem,
    names_in,
)

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> LocalAuthority:
    """An authority for a few names."""
    return LocalAuthority.make([*ALWAYS, "desk.example", "192.0.2.7"], "somebody on a desk", NOW)


def verified(
    folder: Path, authority: LocalAuthority, pem: str, *flags: str
) -> "subprocess.CompletedProcess[str]":
    """Verify a certificate with OpenSSL, strictly."""
    (folder / "ca.pem").write_text(certificate_pem(authority.certificate))
    (folder / "server.pem").write_text(pem)
    command = ("openssl", "verify", "-x509_strict", "-purpose", "sslserver", *flags)
    files = ("-CAfile", folder / "ca.pem", folder / "server.pem")
    return subprocess.run([*command, *files], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "flags",
    [
        ("-verify_hostname", "localhost"),
        ("-verify_hostname", "app.localhost"),
        ("-verify_hostname", "desk.example"),
        ("-verify_ip", "127.0.0.1"),
        ("-verify_ip", "::1"),
        ("-verify_ip", "192.0.2.7"),
    ],
    ids=lambda flags: flags[1],
)
def test_openssl_accepts_every_name(
    authority: LocalAuthority, tmp_path: Path, flags: tuple[str, str]
) -> None:
    """For which it was made."""
    names = [*ALWAYS, "app.localhost", "desk.example", "192.0.2.7"]
    found = verified(tmp_path, authority, authority.issue(names, NOW, MAX_DAYS), *flags)
    assert found.returncode == 0, found.stderr


def test_authority_is_limited_to_its_names(authority: LocalAuthority, tmp_path: Path) -> None:
    """Its key cannot impersonate the bank."""
    found = verified(tmp_path, authority, forged(authority, "api.candescent.com"))
    assert found.returncode != 0
    assert "permitted subtree violation" in found.stdout + found.stderr
    assert verified(tmp_path, authority, forged(authority, "localhost")).returncode == 0


def forged(authority: LocalAuthority, name: str) -> str:
    """Return a certificate for any name, signed without the authority's checks."""
    made = x509.load_pem_x509_certificate(
        LocalAuthority.make([name], "anybody", NOW).issue([name], NOW, 30).encode()
    )
    builder = x509.CertificateBuilder(
        authority.certificate.subject,
        made.subject,
        made.public_key(),
        made.serial_number,
        made.not_valid_before_utc,
        made.not_valid_after_utc,
    )
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    for extension in made.extensions:
        is_signer = isinstance(extension.value, x509.AuthorityKeyIdentifier)
        builder = builder.add_extension(
            signer if is_signer else extension.value, extension.critical
        )
    return certificate_pem(builder.sign(authority.key, hashes.SHA256()))


def test_properties_of_the_certificates(authority: LocalAuthority) -> None:
    """P-256, at most 397 days, servers only; the authority signs certificates only."""
    made = x509.load_pem_x509_certificate(authority.issue(ALWAYS, NOW, MAX_DAYS).encode())
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert made.not_valid_after_utc - made.not_valid_before_utc <= timedelta(days=397)
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]
    its = authority.certificate.extensions
    assert its.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert its.get_extension_for_class(x509.NameConstraints).critical


def test_certificates_have_different_keys_and_numbers(authority: LocalAuthority) -> None:
    """A renewed one is new."""
    one, two = (
        x509.load_pem_x509_certificate(authority.issue(ALWAYS, NOW, 1).encode()) for _ in "12"
    )
    assert one.serial_number != two.serial_number
    assert one.public_key() != two.public_key()


@pytest.mark.parametrize(
    "name", ["bank.example", "xlocalhost", "127.0.0.2", "::2", "192.0.2.8", "example"]
)
def test_other_name_is_refused(authority: LocalAuthority, name: str) -> None:
    """When the certificate is made."""
    with pytest.raises(AuthorityError, match="was not made for this name"):
        authority.issue([name], NOW, 1)


@pytest.mark.parametrize(
    "name", ["", "a b", "*.example", "-a", "a..b", "http://a", "1.2.3", "ä.de"]
)
def test_invalid_name_is_refused(name: str) -> None:
    """The error quotes it."""
    with pytest.raises(AuthorityError, match="neither a host name nor an address"):
        general_name(name)


def test_certificate_ends_before_its_authority(authority: LocalAuthority) -> None:
    """An expired authority makes none."""
    end = authority.certificate.not_valid_after_utc
    late = authority.issue(ALWAYS, end - timedelta(days=1), MAX_DAYS)
    assert x509.load_pem_x509_certificate(late.encode()).not_valid_after_utc == end
    with pytest.raises(AuthorityError, match="has expired"):
        authority.issue(ALWAYS, end, 1)


def test_saved_authority_can_be_loaded(authority: LocalAuthority) -> None:
    """A mismatched key is refused."""
    certificate, key = certificate_pem(authority.certificate).encode(), key_pem(authority.key)
    assert LocalAuthority.load(certificate, key.encode()).certificate == authority.certificate
    other = key_pem(LocalAuthority.make(ALWAYS, "another", NOW).key).encode()
    with pytest.raises(AuthorityError, match="does not match its certificate"):
        LocalAuthority.load(certificate, other)
    for spoilt in (b"", b"-----BEGIN", certificate):
        with pytest.raises(AuthorityError):
            LocalAuthority.load(spoilt, spoilt)


def test_names_are_read_from_the_authority(authority: LocalAuthority) -> None:
    """A renewal is for the same names."""
    pem = authority.issue(["localhost", "::1", "desk.example"], NOW, 1).encode()
    assert names_in(pem) == ["localhost", "::1", "desk.example"]
    with pytest.raises(AuthorityError):
        names_in(b"nothing")


def test_repr_hides_keys(authority: LocalAuthority) -> None:
    """Python can load the files."""
    assert "key" not in repr(authority)
    context = ssl.create_default_context(cadata=certificate_pem(authority.certificate))
    assert len(context.get_ca_certs()) == 1
