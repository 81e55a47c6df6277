"""TLS to the upstream: version 1.2 or later, host name always verified, optional mutual TLS."""

import hashlib
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

import truststore

from proxy.errors import ConfigError, UpstreamFailure, kinds
from proxy.upstream.upstream_settings import UpstreamSettings

_SHARED: "WeakValueDictionary[tuple[bytes, ...], ssl.SSLContext]" = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """A client context, and a fingerprint of the files it was made from."""

    context: ssl.SSLContext | None
    fingerprint: str

    @classmethod
    def load(cls, settings: UpstreamSettings, *, https: bool, section: str = "upstream") -> Self:
        """Read the certificates. Raises ``ConfigError`` for files that cannot be used."""
        if not https:
            return cls(None, "")
        files = (settings.ca_file, settings.certificate_file, settings.key_file)
        context = client_context(*files, section=section, system_store=settings.system_store)
        digest = hashlib.sha256()
        for file in filter(None, files):
            try:
                content = file.read_bytes()
            except OSError as error:  # gone since the context was made
                raise ConfigError(
                    [f"{section}: {file} cannot be read ({error.strerror})"]
                ) from error
            digest.update(str(file).encode() + b"\0" + content)
        return cls(context, digest.hexdigest())


def client_context(
    ca_file: Path | None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    *,
    section: str = "upstream",
    system_store: bool = False,
) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those in ``ca_file``.

    With ``system_store`` the operating system verifies, not OpenSSL, where it has such a service.
    While a context is in use, the same settings with the same content share it, because to read
    the system's authorities takes tens of milliseconds.

    With a certificate, it is what we show when the upstream asks. Raises ``ConfigError``, which
    names the settings as those of ``section``.
    """
    files = (ca_file, certificate_file, key_file)
    if system_store:  # it reads nothing before a handshake
        return _new_context(*files, section=section, system_store=True)
    content = _content(*files)
    shared = _SHARED.get(content)
    if shared is None:
        shared = _SHARED[content] = _new_context(*files, section=section, system_store=False)
    return shared


def _content(*files: Path | None) -> tuple[bytes, ...]:
    """Return digests of the files; of the system's authorities, what changes with them."""
    found = []
    for file in files:
        with suppress(OSError):  # the context says what is wrong
            found.append(hashlib.sha256(file.read_bytes()).digest() if file else b"")
    paths = ssl.get_default_verify_paths()
    for system in filter(None, (paths.cafile, paths.capath)):
        with suppress(OSError):
            found.append(f"{system} {Path(system).stat().st_mtime_ns}".encode())
    return tuple(found)


def _new_context(
    ca_file: Path | None,
    certificate_file: Path | None,
    key_file: Path | None,
    *,
    section: str,
    system_store: bool,
) -> ssl.SSLContext:
    if system_store:
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = _openssl_context(ca_file, section)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.hostname_checks_common_name = False
    # Python's default accepts an end without close_notify, so that an attacker in between could
    # truncate a close-delimited response.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if certificate_file is not None:
        try:
            # Without a password argument, OpenSSL would prompt on the terminal.
            context.load_cert_chain(certificate_file, key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise _unusable(
                f"{section}.certificate_file", error, "a certificate, its key in key_file"
            ) from error
    return context


def _openssl_context(ca_file: Path | None, section: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(f"{section}.ca_file", error, "CA certificates") from error
    if ca_file is not None:
        # Python 3.13 and later set it. Then OpenSSL requires fields of RFC 5280 that the
        # authorities of many inspecting firewalls lack.
        context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


def _unusable(setting: str, error: OSError, expected: str) -> ConfigError:
    why = "wrong content" if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigError([f"{setting}: cannot be used ({why}); give a PEM file with {expected}"])


# By OpenSSL's X509_V_ERR codes (x509_vfy.h). Codes that are not listed, such as 20 (the issuer is
# not found), mean that no trusted authority has signed the certificate.
CERTIFICATE_FAILURES: dict[int, UpstreamFailure] = {
    9: kinds.UPSTREAM_TLS_NOT_YET_VALID,
    10: kinds.UPSTREAM_TLS_EXPIRED,
    18: kinds.UPSTREAM_TLS_SELF_SIGNED,
    **dict.fromkeys((62, 64), kinds.UPSTREAM_TLS_NAME),
    # 3, 12 and 33: the revocation list is missing, expired, or its issuer is.
    **dict.fromkeys((3, 12, 23, 33), kinds.UPSTREAM_TLS_REVOKED),
    # 25 to 26, 32, 34, 41, 79: path length, purpose, key usage, an unknown critical extension or
    # an issuer that is not a CA; 66 to 68 and 76: weak keys, digests and signatures.
    **dict.fromkeys((25, 26, 32, 34, 41, 66, 67, 68, 76, 79), kinds.UPSTREAM_TLS_UNSUITABLE),
    # Fields that RFC 5280 requires, which Python 3.13 and later check.
    **dict.fromkeys(range(80, 95), kinds.UPSTREAM_TLS_INCOMPLETE),
}

# By OpenSSL's reason names, which follow the alerts of RFC 8446 section 6.
_PLAIN_HTTP = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}
)
_VERSION = frozenset(
    {
        *("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION"),
        *("VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE", "TLSV1_ALERT_INSUFFICIENT_SECURITY"),
    }
)
# The bank's alerts about the client certificate; OpenSSL prefixes them with a TLS version.
_CLIENT_CERTIFICATE = re.compile("ALERT_(?:.*CERTIFICATE|UNKNOWN_CA)")


def explain_tls(error: ssl.SSLError) -> tuple[UpstreamFailure, str]:
    """Return the kind of a TLS error, and a sentence with its cause and OpenSSL's reason."""
    kind, words = tls_failure(error), tls_reason(error)
    return kind, f"{kind.cause.removesuffix('.')} ({words})."


def tls_reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason for an error, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "unknown").lower().replace("_", " ")


def tls_failure(error: ssl.SSLError) -> UpstreamFailure:
    """Return the kind of a TLS error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATE_FAILURES.get(error.verify_code, kinds.UPSTREAM_TLS_UNTRUSTED)
    reason = error.reason or ""
    if reason in _PLAIN_HTTP:
        return kinds.UPSTREAM_TLS_PLAIN_HTTP
    if reason in _VERSION:
        return kinds.UPSTREAM_TLS_VERSION
    if _CLIENT_CERTIFICATE.search(reason):
        return kinds.UPSTREAM_TLS_CLIENT_CERTIFICATE
    return kinds.UPSTREAM_TLS
