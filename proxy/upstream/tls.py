"""How the upstream proves who it is: TLS 1.2 or later, certificate and name checked, always."""

import ssl
from pathlib import Path

from proxy.errors import ConfigError


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those in ``ca_file`` (PEM).

    Raises ``ConfigError`` when the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        why = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            [f"upstream.ca_file: cannot be used ({why}); give a PEM file with CA certificates"]
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
