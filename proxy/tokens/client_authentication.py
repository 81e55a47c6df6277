"""How a token call proves the client: by secret or by a signed assertion.

The bank takes the secret in ``Authorization: Basic`` as it is (candescent.md, "V2 tokens").
Gateways may want it form-encoded first (RFC 6749 section 2.3.1), in the body, or a JWT signed with
a private key instead (RFC 7523 section 2.2).
"""

from base64 import b64encode
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote_plus

ASSERTION_LIFETIME = 120.0
"""Seconds for which an assertion is valid; a new one is made for each call."""

SMALLEST_RSA_KEY = 2048
"""Bits (RFC 7518 section 3.3)."""

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class AuthMethod(StrEnum):
    """The method, by its name in OpenID Connect, without ``client_secret_``."""

    BASIC = "basic"
    POST = "post"
    PRIVATE_KEY_JWT = "private_key_jwt"


class BasicEncoding(StrEnum):
    """How client id and secret stand in Basic: as they are, or form-encoded first."""

    RAW = "raw"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An application's Shared Key and Secret Key, as the vendor's console calls them.

    With ``PRIVATE_KEY_JWT``, ``client_secret`` is a private key in PEM, ``key_id`` its id at the
    server if it has one, and ``audience`` the assertion's.
    """

    client_id: str
    client_secret: str = field(repr=False)
    method: AuthMethod = AuthMethod.BASIC
    encoding: BasicEncoding = BasicEncoding.RAW
    key_id: str = ""
    audience: str = ""

    @property
    def basic(self) -> str:
        """The value of the ``Authorization`` header on a token call."""
        pair = self.client_id, self.client_secret
        if self.encoding is BasicEncoding.FORM:
            pair = quote_plus(pair[0]), quote_plus(pair[1])
        return "Basic " + b64encode(":".join(pair).encode()).decode("ascii")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that a call contains, to be hidden in messages."""
        return (self.client_secret, self.basic.removeprefix("Basic "))

    def proof(self, call_id: str, now: float) -> tuple[dict[str, str], dict[str, str]]:
        """Return headers and form fields that prove the client.

        ``call_id`` is unique to the call, ``now`` is in Unix seconds.
        """
        match self.method:
            case AuthMethod.BASIC:
                return {"Authorization": self.basic}, {}
            case AuthMethod.POST:
                return {}, {"client_id": self.client_id, "client_secret": self.client_secret}
        fields = {
            "client_id": self.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(call_id, now),
        }
        return {}, fields

    def _assertion(self, call_id: str, now: float) -> str:
        """Return a signed JWT (RFC 7523 section 3)."""
        import jwt  # noqa: PLC0415 - only few installations need it

        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": call_id,
            "iat": int(now),
            "exp": int(now + ASSERTION_LIFETIME),
        }
        return jwt.encode(
            claims,
            self.client_secret,
            algorithm_of(self.client_secret),
            headers={"kid": self.key_id} if self.key_id else None,
        )


def algorithm_of(pem: str) -> str:
    """Return the JWS algorithm for a private key. Raises ``ValueError`` with what is wrong."""
    # Imported here, because only few installations need it.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem.encode("ascii"), password=None)
    except TypeError:
        raise ValueError("is encrypted; write the decrypted key into it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("does not hold a private key in PEM") from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < SMALLEST_RSA_KEY:
            raise ValueError(f"holds an RSA key of less than {SMALLEST_RSA_KEY} bits")
        return "RS256"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, Ed25519PrivateKey):
        return "EdDSA"
    raise ValueError("holds a key of a kind that signs no assertions; use RSA, P-256 or Ed25519")
