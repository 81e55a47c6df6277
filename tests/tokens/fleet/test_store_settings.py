"""Settings of the token store."""

from pathlib import Path
from typing import Any

import pytest

from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import ConfigError
from tests.support.running import CLIENT

ON = {"url": "rediss://store:6379", "encryption_key_file": "/keys"}


def load(trust_network: str = "false", **store: Any) -> Config:
    """Return a configuration with these store settings."""
    flags = {
        "environment": "stage",
        "institution_id": "00016",
        "trust_network": trust_network,
        "store": store,
        **CLIENT,
    }
    return loader.load(None, {}, flags)


def test_store_is_off_by_default() -> None:
    """No file of it is watched."""
    config = load()
    assert config.store.url is None
    assert list(config.store.files()) == []


def test_url_and_key_enable_the_store() -> None:
    """In the file or in the environment."""
    assert load(**ON).store.address.tls
    environment = {
        "CANDESCENT_STORE__URL": "redis://store",
        "CANDESCENT_STORE__ENCRYPTION_KEY_FILE": "/keys",
    }
    flags = {"environment": "stage", "institution_id": "00016", **CLIENT}
    assert loader.load(None, environment, flags).store.address.nodes == (("store", 6379),)


def test_changed_key_files_reload_the_configuration() -> None:
    """A password is read at each connection instead."""
    config = load(**ON, ca_file="/ca", certificate_file="/crt", key_file="/key", password_file="/p")
    assert list(config.store.files()) == [Path(p) for p in ("/keys", "/ca", "/crt", "/key")]
    assert set(config.store.files()) <= set(config.files())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "redis://store"}, "store.encryption_key_file: needed with store.url"),
        ({"password_file": "/p"}, "store.password_file: needs store.url"),
        ({**ON, "url": "moss"}, "store.url: expected redis://"),
        ({**ON, "username": "fern"}, "store.username: needs store.password_file"),
        ({**ON, "key_file": "/k"}, "store.key_file: needs store.certificate_file"),
        ({**ON, "url": "redis://store", "ca_file": "/ca"}, "store.ca_file: certificates"),
        (
            {**ON, "url": "redis://store", "password_file": "/p"},
            "store.url: redis:// would send the store's password unencrypted",
        ),
        ({**ON, "lease": "60"}, "store.lease"),
        ({**ON, "prefix": "a:b"}, "store.prefix"),
    ],
)
def test_contradictory_settings_are_refused(given: dict[str, Any], message: str) -> None:
    """Each error has its path."""
    with pytest.raises(ConfigError) as caught:
        load(**given)
    assert [mistake for mistake in caught.value.errors if mistake.startswith(message)]


def test_plaintext_password_needs_a_trusted_network() -> None:
    """It is allowed on loopback, or with trust_network."""
    assert load(**{**ON, "url": "redis://127.0.0.1"}, password_file="/p").store.password_file
    assert load("true", **{**ON, "url": "redis://store"}, password_file="/p").store.password_file
