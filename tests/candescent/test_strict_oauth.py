"""A certified OAuth 2.0 server instead of the bank: each way to prove the client."""

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.mounted_files import write
from tests.support.oauth_server import oauth_server
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture

SECRET = "p+l%us/and=colon:&space"
PlainKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def pem(key: PlainKey) -> str:
    """Return a private key as a file holds it."""
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode("ascii")


def jwk(key: PlainKey, key_id: str = "") -> dict[str, Any]:
    """Return the public key as the server knows it."""
    known: Any = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    algorithm = next(known[kind] for kind in known if isinstance(key, kind))
    public = json.loads(algorithm.to_jwk(key.public_key()))
    return {**public, "use": "sig", **({"kid": key_id} if key_id else {})}


def client(method: str, **more: Any) -> dict[str, Any]:
    """Return a client of the server."""
    return {"client_id": "acorn app", "token_endpoint_auth_method": method, **more}


def proxy(
    folder: Path, url: str, secret: str = "", *, ready: bool = True, **settings: Any
) -> AbstractAsyncContextManager[ProxyFixture]:
    """Run a proxy in front of the server; ``secret`` is written into a file."""
    if secret:
        write(folder / "secret", secret)
        settings["client_secret_file"] = str(folder / "secret")
    settings = {"base_url": url, "client_id": "acorn app", **settings}
    return proxy_fixture(folder / "proxy.yaml", ready=ready, **settings)


@pytest.mark.parametrize(
    ("method", "token"),
    [
        ("client_secret_basic", {"basic_encoding": "form"}),
        ("client_secret_post", {"auth_method": "post"}),
    ],
)
async def test_client_secret(tmp_path: Path, method: str, token: dict[str, str]) -> None:
    """Basic with form encoding (RFC 6749 section 2.3.1), or the body."""
    async with (
        oauth_server(client(method, client_secret=SECRET)) as url,
        proxy(tmp_path, url, SECRET, token=token) as fixture,
    ):
        assert await fixture.call("/v1/accounts") == 200


async def test_secret_as_it_is_is_refused(tmp_path: Path) -> None:
    """A strict server decodes Basic; the bank does not."""
    async with (
        oauth_server(client("client_secret_basic", client_secret=SECRET)) as url,
        proxy(tmp_path, url, SECRET, ready=False) as fixture,
    ):
        assert await fixture.call("/v1/accounts") == 503
        (entry,) = fixture.app.tokens.entries()
        assert entry.error is not None
        assert entry.error.reason.is_refusal


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["RSA", "P-256", "Ed25519"],
)
async def test_signed_assertion(tmp_path: Path, key: PlainKey) -> None:
    """With each kind of key; a replaced key file is used without a restart."""
    other = ec.generate_private_key(ec.SECP256R1())
    keys: dict[str, Any] = {"keys": [jwk(key, "one"), jwk(other, "two")]}
    write(tmp_path / "key", pem(key))
    settings: dict[str, Any] = {
        "client_key_file": str(tmp_path / "key"),
        "token": {"auth_method": "private_key_jwt"},
    }
    async with (
        oauth_server(client("private_key_jwt", jwks=keys)) as url,
        proxy(tmp_path, url, **settings) as fixture,
    ):
        assert await fixture.call("/v1/accounts") == 200
        (entry,) = fixture.app.tokens.entries()
        assert entry.token is not None
        write(tmp_path / "key", pem(other))
        await fixture.wait_for_reload()
        (again,) = fixture.app.tokens.entries()
        assert again.token is not None
        assert again.token.text != entry.token.text
        assert await fixture.call("/v1/accounts") == 200


async def test_unknown_key_is_refused(tmp_path: Path) -> None:
    """A changed key file is tested before it is used."""
    key, unknown = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    write(tmp_path / "key", pem(key))
    settings: dict[str, Any] = {
        "client_key_file": str(tmp_path / "key"),
        "client_key_id": "one",
        "token": {"auth_method": "private_key_jwt"},
    }
    async with (
        oauth_server(client("private_key_jwt", jwks={"keys": [jwk(key, "one")]})) as url,
        proxy(tmp_path, url, **settings) as fixture,
    ):
        write(tmp_path / "key", pem(unknown))
        await fixture.wait_for_failed_reload()
        assert await fixture.call("/v1/accounts") == 200
        assert fixture.warnings()
        assert "PRIVATE" not in fixture.log.getvalue()
