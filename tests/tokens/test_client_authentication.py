"""How a token call proves the client: each method, and keys that sign no assertions."""

from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from proxy.tokens.client_authentication import (
    ASSERTION_TYPE,
    AuthMethod,
    BasicEncoding,
    Credentials,
    algorithm_of,
)
from proxy.tokens.grants import ApplicationInfo, Login, revocation_request, token_request
from tests.tokens.harness import KEY

NOW = 1_800_000_000.5
URL = "https://bank.example/oauth2/v1/token"
P256 = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any, encryption: KeySerializationEncryption | None = None) -> str:
    """Return a private key in PEM."""
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return text.decode("ascii")


def test_basic_as_it_is() -> None:
    """The bank's way, and the default."""
    headers, form = Credentials("app", "a:b+c%").proof("id", NOW)
    assert form == {}
    assert b64decode(headers["Authorization"].removeprefix("Basic ")) == b"app:a:b+c%"


def test_basic_form_encoded() -> None:
    """RFC 6749 section 2.3.1: colons, plus signs and spaces are unambiguous."""
    credentials = Credentials("my app", "a:b+c%", encoding=BasicEncoding.FORM)
    headers, form = credentials.proof("id", NOW)
    assert form == {}
    sent = b64decode(headers["Authorization"].removeprefix("Basic "))
    assert sent == b"my+app:a%3Ab%2Bc%25"


def test_body() -> None:
    """Id and secret are form fields, of revocations too."""
    credentials = Credentials("app", "s&cret", AuthMethod.POST)
    caller = ApplicationInfo("Desk/1.0")
    for request in (
        token_request(KEY, Login(credentials), "id", caller, NOW),
        revocation_request("token", credentials, "id", NOW),
    ):
        assert "Authorization" not in request.headers
        fields = parse_qs(request.body.decode())
        assert (fields["client_id"], fields["client_secret"]) == (["app"], ["s&cret"])


@pytest.mark.parametrize(("key_id", "header"), [("", None), ("one", "one")])
def test_assertion(key_id: str, header: str | None) -> None:
    """A JWT for this call, signed with the key."""
    credentials = Credentials(
        "app", pem(P256), AuthMethod.PRIVATE_KEY_JWT, key_id=key_id, audience=URL
    )
    headers, form = credentials.proof("call-1", NOW)
    assert headers == {}
    assert (form["client_id"], form["client_assertion_type"]) == ("app", ASSERTION_TYPE)
    text = form["client_assertion"]
    claims = jwt.decode(
        text,
        P256.public_key(),
        ["ES256"],
        {"verify_exp": False, "verify_iat": False},
        audience=URL,
    )
    assert claims == {
        "iss": "app",
        "sub": "app",
        "aud": URL,
        "jti": "call-1",
        "iat": 1_800_000_000,
        "exp": 1_800_000_120,
    }
    assert jwt.get_unverified_header(text).get("kid") == header
    assert credentials.client_secret not in repr(credentials)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (P256, "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
)
def test_algorithm_follows_from_the_key(key: Any, algorithm: str) -> None:
    """By its kind and curve."""
    assert algorithm_of(pem(key)) == algorithm


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key in PEM"),
        (pem(P256, BestAvailableEncryption(b"x")), "encrypted"),
        (pem(rsa.generate_private_key(65537, 1024)), "less than 2048"),  # noqa: S505 - refused
        (pem(ec.generate_private_key(ec.SECP256K1())), "signs no assertions"),
        (pem(ed448.Ed448PrivateKey.generate()), "signs no assertions"),
        (pem(dsa.generate_private_key(2048)), "signs no assertions"),
    ],
)
def test_unusable_keys(text: str, problem: str) -> None:
    """Each with what is wrong."""
    with pytest.raises(ValueError, match=problem):
        algorithm_of(text)
