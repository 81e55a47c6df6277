"""Addresses of institutions, what they inherit, and logins of listeners."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.tokens.token import TokenKey, TokenKind

OWN = {"client_id": "other", "client_secret_file": "/run/other"}
MAIN = {
    "base_url": "https://bank.test/api",
    "institution_id": "00016",
    "client_id": "main",
    "client_secret": "secret-of-moss",
}


def load(**changes: Any) -> Config:
    """Return a configuration."""
    return loader.load(None, {}, MAIN | changes)


def test_institutions_with_equal_settings_share_an_origin() -> None:
    """Also with the configuration's own, whether the address is written or not."""
    config = load(
        institutions={
            "00017": {"base_url": "https://other.test", **OWN},
            "00018": {"base_url": "https://other.test/", **OWN},
            "00019": {"base_url": "HTTPS://Bank.test:443/api/"},
            "00020": {"environment": "sandbox", **OWN},
            "00021": {"upstream": {"max_connections": "3"}},
        }
    )
    names = [origin.base_url for origin in config.origins]
    sandbox = "https://api.sandbox.candescent.com"
    assert names == [MAIN["base_url"], "https://other.test", sandbox, MAIN["base_url"]]
    assert config.origin_of("00017") == config.origin_of("00018")
    assert config.origin_of("00019") == config.origin_of("00016") == config.origins[0]
    assert config.origin_of("00021").upstream.max_connections == 3


def test_upstream_settings_are_inherited() -> None:
    """Those that belong together as a whole, so that no password goes to another proxy."""
    outside = {
        "proxy": "http://out.test:3128",
        "proxy_user": "me",
        "proxy_password_file": "/run/password",
        "certificate_file": "/run/own.pem",
        "key_file": "/run/own.key",
        "max_wait": "3s",
    }
    config = load(
        upstream=outside,
        institutions={
            "00017": {"upstream": {"proxy": "http://other.test:3128"}, **OWN},
            "00018": {"upstream": {"certificate_file": "/run/other.pem", "max_wait": "9s"}},
            "00019": {"upstream": {"proxy": "direct"}},
        },
    )
    other, third, direct = (config.origin_of(name).upstream for name in ("00017", "00018", "00019"))
    assert (other.proxy_user, other.proxy_password_file, other.max_wait) == (None, None, 3.0)
    assert other.key_file == Path("/run/own.key")
    assert (third.key_file, third.proxy_user, third.max_wait) == (None, "me", 9.0)
    assert (direct.proxy, direct.proxy_user) == ("direct", None)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"base_url": "https://other.test"}, "institutions.00017.client_id: needed with"),
        ({"base_url": "http://other.test", **OWN}, "institutions.00017.base_url: http:// would"),
        (
            {"base_url": "http://127.0.0.1:8080", **OWN},
            "institutions.00017.base_url: this is the proxy's own",
        ),
        (
            {"base_url": "https://other.test", "environment": "stage", **OWN},
            "institutions.00017.environment: set either",
        ),
        ({"upstream": {"key_file": "/k"}}, "institutions.00017.upstream.key_file: needs"),
        ({"upstream": {"max_wait": "x"}}, "institutions.00017.upstream.max_wait: expected a"),
        ({"upstream": {"max_weight": "1"}}, "mean institutions.00017.upstream.max_wait?"),
    ],
)
def test_error_names_the_institution(changes: dict[str, Any], error: str) -> None:
    """Secrets are not inherited by another address."""
    with pytest.raises(ConfigError) as caught:
        load(institutions={"00017": changes})
    assert len(caught.value.errors) == 1
    assert error in caught.value.errors[0]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"institutions": {"00016": {"base_url": "https://other.test", **OWN}}},
            "institutions.00016.base_url: this is institution_id",
        ),
        (
            {
                "client_id": None,
                "client_secret": None,
                "bearer_token": "sesame",
                "institutions": {"00017": {"base_url": "https://other.test", **OWN}},
            },
            "bearer_token: is for one address",
        ),
    ],
)
def test_address_that_cannot_be(changes: dict[str, Any], error: str) -> None:
    """The default institution's is outside; a fixed token is for one bank."""
    with pytest.raises(ConfigError) as caught:
        loader.load(None, {}, {k: v for k, v in (MAIN | changes).items() if v is not None})
    assert [one for one in caught.value.errors if one.startswith(error)]


def users(**files: str) -> dict[str, Any]:
    """Return listeners that log in with a code, each with its file."""
    return {
        name: {
            "listen": f"127.0.0.1:{8091 + at}",
            "grant": "authorization_code",
            "refresh_token_file": file,
        }
        for at, (name, file) in enumerate(files.items())
    }


def test_refresh_token_files_of_two_users_differ() -> None:
    """Each user has one, and no two the same, however it is written."""
    load(listeners=users(alice="/run/a", bob="/run/b"))
    for shared in (users(alice="/run/a", bob="/run/../run/a"), users(alice="/run/a")):
        with pytest.raises(ConfigError, match=r"refresh_token_file: is .*refresh_token_file too"):
            load(listeners=shared, refresh_token_file="/run/a")
    alone = users(alice="/run/a")
    del alone["alice"]["refresh_token_file"]
    with pytest.raises(ConfigError, match=r"^listeners.alice.refresh_token_file: needed"):
        load(listeners=alone, refresh_token_file="/run/a")


@pytest.mark.parametrize("login", [{}, {"host_user_id": "7"}, {"grant": "client_credentials"}])
def test_refresh_token_file_without_a_user_is_an_error(login: dict[str, str]) -> None:
    """Nothing would ever be in it; a login was probably left out."""
    listeners = users(alice="/run/a")
    del listeners["alice"]["grant"]
    listeners["alice"] |= login
    with pytest.raises(ConfigError, match=r"^listeners.alice.refresh_token_file: needs a user's"):
        load(listeners=listeners)


def test_assertions_for_one_address_are_of_no_use_at_another(tmp_path: Path) -> None:
    """The configured audience is that of `base_url`, whose key an institution may share."""
    key = tmp_path / "key"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    client = {"client_id": "main", "client_key_file": str(key)}
    settings = (
        MAIN
        | client
        | {
            "token": {"auth_method": "private_key_jwt", "assertion_audience": "https://login.test"},
            "institutions": {
                "00017": {"base_url": "https://other.test", **client},
                "00018": {"upstream": {"max_connections": "3"}, **client},
            },
        }
    )
    del settings["client_secret"]
    logins = loader.logins(loader.load(None, {}, settings))
    audiences = [logins.default, logins.by_institution["00017"], logins.by_institution["00018"]]
    assert [login.credentials.audience for login in audiences] == [
        "https://login.test",
        "https://other.test/oauth2/v1/token",
        "https://login.test",
    ]


def test_login_of_a_listener(tmp_path: Path) -> None:
    """It has the institution's credentials unless it has its own, and never the other's user."""
    (tmp_path / "password").write_text("moonlight\n")
    (tmp_path / "secret").write_text("own-secret\n")
    login = {"username": "juniper", "password_file": str(tmp_path / "password")}
    own = {"client_id": "own", "client_secret_file": str(tmp_path / "secret")}
    config = load(
        host_user_id="7",
        listeners={
            "alice": {"listen": "127.0.0.1:8091", **login},
            "app": {"listen": "127.0.0.1:8092", **own},
            "plain": {"listen": "127.0.0.1:8093"},
        },
    )
    logins = loader.logins(config)
    alice = logins.for_key(TokenKey(TokenKind.V2, "00016", "", "alice"))
    assert (alice.credentials.client_id, alice.grant.user) == ("main", "juniper")
    app = logins.for_key(TokenKey(TokenKind.V2, "00016", "", "app"))
    assert (app.credentials.client_id, app.grant.name) == ("own", "client_credentials")
    assert logins.for_key(TokenKey(TokenKind.V2, "00016")).credentials.client_id == "main"
    subjects = {one.name: one.subject_of("00016") for one in config.listener_configs}
    assert subjects == {"main": "", "alice": "alice", "app": "app", "plain": ""}
    with pytest.raises(KeyError):
        logins.for_key(TokenKey(TokenKind.V2, "00016", "", "plain"))
