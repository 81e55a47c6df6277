"""Authentication of callers: a shared secret, or a client certificate with an allowed name.

Required as soon as other machines can reach the port; optional on loopback.
"""

import hmac
import ssl
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field

from proxy.errors import CallerError, ConfigError, kinds
from proxy.forwarding.caller_settings import CallerSettings
from proxy.http1.fields import RawHeaders
from proxy.server.caller import Caller
from proxy.tokens.secret_files import read_secret


@dataclass(frozen=True, slots=True)
class CallerAuthentication:
    """The credentials required of callers. Any one of the secrets is accepted, for rotation."""

    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    allowed_names: frozenset[str] = frozenset()

    @classmethod
    def load(cls, settings: CallerSettings, path: str = "") -> "CallerAuthentication | None":
        """Read the secrets; None if no authentication is configured.

        Raises ``ConfigError`` with the settings' names below ``path``.
        """
        errors: list[str] = []
        secrets = []
        for at, file in enumerate(settings.secret_files):
            try:
                secrets.append(
                    read_secret(file, f"{path}callers.secret_files.{at}").encode("ascii")
                )
            except ConfigError as error:
                errors += error.errors
        if errors:
            raise ConfigError(errors)
        if not secrets and not settings.client_names:
            return None
        return cls(tuple(secrets), frozenset(settings.client_names))

    def check(
        self,
        headers: RawHeaders,
        caller: Caller,
        *,
        as_proxy: bool = False,
    ) -> str:
        """Return the application's name, one of ``allowed_names``; empty if they are not set.

        Raises ``CallerError`` (403) for a caller without valid credentials. With ``as_proxy`` it
        is a 407: a caller that uses the proxy as its HTTP proxy may then send the secret.
        """
        if self.secrets and not self._has_secret(headers):
            raise CallerError(kinds.PROXY_AUTHENTICATION if as_proxy else kinds.CALLER_SECRET)
        if self.allowed_names:
            if not caller.names or not self.allowed_names.issuperset(caller.names):
                raise CallerError(kinds.CALLER_CERTIFICATE)
            return caller.names[0]
        return ""

    def _has_secret(self, headers: RawHeaders) -> bool:
        values = [value for name, value in headers if name.lower() == b"proxy-authorization"]
        if len(values) != 1:
            return False
        secret = secret_in(values[0])
        # All are compared, so that the time taken is the same whichever matches.
        return sum(hmac.compare_digest(secret, known) for known in self.secrets) > 0


def secret_in(value: bytes) -> bytes:
    """Return the secret in ``Bearer SECRET`` or in the password of ``Basic …``."""
    scheme, _, rest = value.partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"bearer":
        return rest
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(rest, validate=True).partition(b":")[2]
    except Base64Error:
        return b""


def server_context(settings: CallerSettings, path: str = "") -> ssl.SSLContext | None:
    """Return the TLS context of a listener, or None without one. Raises ``ConfigError``."""
    if settings.certificate_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password argument, OpenSSL would prompt on the terminal.
        context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
    except (OSError, ssl.SSLError) as error:
        raise _unusable(f"{path}callers.certificate_file", error) from error
    if settings.client_ca_file is not None:
        try:
            context.load_verify_locations(settings.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(f"{path}callers.client_ca_file", error) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _unusable(setting: str, error: OSError) -> ConfigError:
    why = "wrong content" if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigError([f"{setting}: cannot be used ({why}); give a PEM file"])
