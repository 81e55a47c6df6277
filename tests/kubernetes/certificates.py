"""Certificates as cert-manager makes them.

The Python of the image is stricter than older ones: it asks for the uses of an authority's key,
and for the identifier of that key in what was signed with it.
"""

from pathlib import Path

from tests.certificates import Authority
from tests.kubernetes.commands import output


def strict_authority(folder: Path) -> Authority:
    """Make an authority that says what its key is for."""
    authority = Authority(folder)
    output(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-keyout", authority.key, "-out", authority.file, "-subj", "/CN=cluster"),
        *("-days", "2", "-addext", "keyUsage=critical,keyCertSign"),
    )
    return authority


def issue(authority: Authority, name: str, *names: str) -> Path:
    """Make a certificate with its key in one file; ``names`` such as ``DNS:bank.test``."""
    return authority.issue(name, f"{','.join(names)}\nauthorityKeyIdentifier=keyid", file=name)
