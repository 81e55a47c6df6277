"""Who is at the other end of a connection: address, and names in the certificate."""

from collections.abc import Iterator, Mapping
from typing import Any, final

PeerCertificate = Mapping[str, Any]


@final
class Caller:
    """A caller, as its connection shows it.

    ``address`` is an IP address, empty on a Unix socket. ``names`` are those in the client
    certificate, empty without one.
    """

    __slots__ = ("address", "names")

    def __init__(self, address: str = "", names: tuple[str, ...] = ()) -> None:
        self.address = address
        self.names = names


NO_CALLER = Caller()


def caller_of(peer_name: object, certificate: PeerCertificate | None) -> Caller:
    """Return the caller with a socket's ``peername`` and a certificate as ``ssl`` decodes it."""
    address = str(peer_name[0]) if isinstance(peer_name, tuple) else ""
    return Caller(address, subject_names(certificate) if certificate else ())


def subject_names(certificate: PeerCertificate) -> tuple[str, ...]:
    """Return the names in a peer's certificate: DNS names, URIs and mail addresses.

    The common names count only in a certificate without alternative names, of whatever kind (RFC
    6125 section 6.4.4).
    """
    if alternatives := certificate.get("subjectAltName", ()):
        return tuple(value for kind, value in alternatives if kind in ("DNS", "URI", "email"))
    return tuple(_common_names(certificate))


def _common_names(certificate: PeerCertificate) -> Iterator[str]:
    for relative in certificate.get("subject", ()):
        yield from (value for kind, value in relative if kind == "commonName")
