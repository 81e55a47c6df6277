"""A local certificate authority, for applications that require HTTPS.

The authority is limited to the names it was made for (name constraints, RFC 5280 section 4.2.1.10),
so that trusting it affects no other server.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ALWAYS = ("localhost", "127.0.0.1", "::1")
"""The names in every certificate."""

AUTHORITY_DAYS = 3650
MAX_DAYS = 397
"""The longest validity of a server certificate that clients accept."""

_EARLIER = timedelta(hours=1)
"""Certificates are valid from this long ago, for clients with a slow clock."""

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")

Key = ec.EllipticCurvePrivateKey


class AuthorityError(Exception):
    """A certificate cannot be made; the message says why."""


def general_name(name: str) -> x509.GeneralName:
    """Return a host name or an IP address as a ``GeneralName``. Raises ``AuthorityError``."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    if not _DNS.fullmatch(name.lower()) or name.replace(".", "").isdigit():
        raise AuthorityError(f"{name}: is neither a host name nor an address")
    return x509.DNSName(name.lower())


@dataclass(frozen=True, slots=True)
class LocalAuthority:
    """The authority's certificate and key."""

    certificate: x509.Certificate
    key: Key = field(repr=False)

    @classmethod
    def make(cls, names: Sequence[str], owner: str, now: datetime) -> Self:
        """Make an authority for these names only; ``owner`` is part of its name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"candescent-proxy of {owner}"[:64])
        allowed = x509.NameConstraints([_subtree(general_name(name)) for name in names], None)
        start = now - _EARLIER
        builder = (
            _builder(subject, subject, key, key)
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(allowed, critical=True)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Self:
        """Read an existing authority from PEM. Raises ``AuthorityError``."""
        try:
            read = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise AuthorityError("the authority's files have the wrong content") from error
        if not isinstance(private, Key) or private.public_key() != read.public_key():
            raise AuthorityError("the authority's key does not match its certificate")
        return cls(read, private)

    def issue(self, names: Sequence[str], now: datetime, days: int) -> str:
        """Return a server certificate for these names and its key, as PEM.

        Raises ``AuthorityError`` for names outside the authority's, and if it has expired.
        """
        self._check(names, now)
        key = ec.generate_private_key(ec.SECP256R1())
        mine = self.certificate
        start = max(now - _EARLIER, mine.not_valid_before_utc)
        builder = (
            _builder(_subject("candescent-proxy"), mine.subject, key, self.key)
            .not_valid_before(start)
            .not_valid_after(min(start + timedelta(days=days), mine.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(map(general_name, names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return certificate_pem(builder.sign(self.key, hashes.SHA256())) + key_pem(key)

    def _check(self, names: Iterable[str], now: datetime) -> None:
        if self.certificate.not_valid_after_utc <= now:
            raise AuthorityError("the authority has expired; make a new one with --force")
        constraints = self.certificate.extensions.get_extension_for_class(x509.NameConstraints)
        allowed = constraints.value.permitted_subtrees or []
        for name in names:
            if not any(_is_below(general_name(name), above) for above in allowed):
                raise AuthorityError(
                    f"{name}: the authority was not made for this name; make a new one with "
                    "--force, and trust it in place of the old one"
                )


def names_in(pem: bytes) -> list[str]:
    """Return the names in a server certificate. Raises ``AuthorityError``."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise AuthorityError("server.pem was not made by candescent-proxy") from error
    return [str(name.value) for name in extension.value]


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def key_pem(key: Key) -> str:
    """Return a key as unencrypted PEM."""
    shape, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, shape, plain).decode("ascii")


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, signer: Key
) -> x509.CertificateBuilder:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    its = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(own, critical=False)
        .add_extension(its, critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subtree(name: x509.GeneralName) -> x509.GeneralName:
    """Return a name as a constraint; an address becomes a network of one address."""
    if isinstance(name, x509.IPAddress) and not isinstance(name.value, IPv4Network | IPv6Network):
        return x509.IPAddress(ip_network(name.value))
    return name


def _is_below(name: x509.GeneralName, above: x509.GeneralName) -> bool:
    if isinstance(above, x509.DNSName) and isinstance(name, x509.DNSName):
        return name.value == above.value or name.value.endswith(f".{above.value}")
    return _subtree(name) == above
