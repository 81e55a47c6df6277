"""Certificates for tests, made with the ``openssl`` command."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import program


@dataclass(frozen=True)
class OpensslAuthority:
    """A certificate authority with its files in ``folder``."""

    folder: Path
    name: str = "ca"

    @classmethod
    def make(cls, folder: Path, name: str = "ca") -> "OpensslAuthority":
        """Make a new authority."""
        authority = cls(folder, name)
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", authority.key, "-out", authority.file, "-subj", f"/CN={name}"),
            # Python 3.13 verifies strictly: RFC 5280 section 4.2.1.3 requires keyUsage in a CA.
            *("-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        return authority

    @property
    def file(self) -> Path:
        """The certificate."""
        return self.folder / f"{self.name}.pem"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / f"{self.name}.key"

    def issue(self, name: str, *names: str, days: str = "2", file: str = "leaf") -> Path:
        """Issue a certificate; return a PEM file with it and its key.

        ``names`` are subject alternative names such as ``DNS:bank.test``.
        """
        path = self.folder / f"{file}.pem"
        key, request, ext = (self.folder / f"{file}.{end}" for end in ("key", "csr", "ext"))
        lines = ["authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash"]
        lines += [f"subjectAltName={','.join(names)}"] if names else []
        ext.write_text("\n".join(lines) + "\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", request, "-subj", f"/CN={name}"),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key),
            *("-CAcreateserial", "-out", path, "-days", days, "-extfile", ext),
        )
        path.write_bytes(path.read_bytes() + key.read_bytes())
        return path


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return a context for a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(
        [program("openssl"), *map(str, arguments)],
        check=True,
        capture_output=True,
    )
