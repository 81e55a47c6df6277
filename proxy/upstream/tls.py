"""How the upstream proves who it is, and we to it: TLS 1.2 or later, name checked, always."""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from proxy.errors import ConfigError


class TlsFiles(Protocol):
    """The settings that this module reads; PEM files all."""

    @property
    def ca_file(self) -> Path | None:
        """Authorities to trust in place of the system's."""

    @property
    def certificate_file(self) -> Path | None:
        """Our certificate."""

    @property
    def key_file(self) -> Path | None:
        """Its key."""


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """A client context, and a fingerprint that changes with what it was made from."""

    context: ssl.SSLContext | None
    fingerprint: str

    @classmethod
    def load(cls, files: TlsFiles, *, https: bool) -> Self:
        """Read the certificates. Raises ``ConfigError`` for files that cannot be used."""
        if not https:
            return cls(None, "")
        context = client_context(files.ca_file, files.certificate_file, files.key_file)
        digest = hashlib.sha256()
        for file in filter(None, (files.ca_file, files.certificate_file, files.key_file)):
            try:
                content = file.read_bytes()
            except OSError as error:  # gone since the context was made
                raise ConfigError(
                    [f"upstream: {file} cannot be read ({error.strerror})"]
                ) from error
            digest.update(str(file).encode() + b"\0" + content)
        return cls(context, digest.hexdigest())


def client_context(
    ca_file: Path | None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    *,
    section: str = "upstream",
) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those in ``ca_file``.

    With a certificate, it is what we show when the upstream asks. Raises ``ConfigError``, which
    names the settings as those of ``section``.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(f"{section}.ca_file", error, "CA certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.hostname_checks_common_name = False
    # Python lets TLS end without a word; then anyone on the way could shorten an answer whose
    # end is the end of its connection.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if certificate_file is not None:
        try:
            # Without a password, OpenSSL would ask for one on the terminal, and wait.
            context.load_cert_chain(certificate_file, key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise _unusable(
                f"{section}.certificate_file", error, "a certificate, its key in key_file"
            ) from error
    return context


def _unusable(setting: str, error: OSError, wanted: str) -> ConfigError:
    why = "not what it should hold" if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigError([f"{setting}: cannot be used ({why}); give a PEM file with {wanted}"])
