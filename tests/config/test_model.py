"""The configuration model: values, defaults and schema."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

from proxy.config.examples import is_section
from proxy.config.model import Config
from proxy.config.origin_config import ENVIRONMENTS
from proxy.server.address import Address

LEAST: dict[str, Any] = {
    "environment": "production",
    "institution_id": "00016",
    "client_id": "shared-key",
    "client_secret": "hush-hush",
}


def config(**settings: Any) -> Config:
    """Return a configuration with these settings and the required ones."""
    return Config.model_validate(LEAST | settings)


def error_of(**settings: Any) -> str:
    """Return the error of a refused configuration."""
    with pytest.raises(ValidationError) as caught:
        config(**settings)
    return str(caught.value)


def test_defaults_are_the_documented_ones() -> None:
    """Without optional settings."""
    plain = config()
    assert (str(plain.listen), str(plain.admin)) == ("127.0.0.1:8080", "127.0.0.1:9090")
    assert (plain.token.margin_min, plain.token.margin_max) == (60, 300)
    assert (plain.token.refusal_memory, plain.token.backoff_max) == (60, 60)
    assert (plain.log.level, plain.log.format, plain.log.access) == ("info", "auto", "sampled")
    assert plain.trust_network is False


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment_implies_a_base_url(name: str) -> None:
    """Each name has its URL."""
    assert config(environment=name).url.geturl() == ENVIRONMENTS[name]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("https://api.example/digitalbanking/", "https://api.example/digitalbanking"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        ("https://xn--bnk-qla.example", "https://xn--bnk-qla.example"),
    ],
)
def test_base_url_is_normalized(written: str, meant: str) -> None:
    """A final slash is removed."""
    assert config(environment=None, base_url=written).url.geturl() == meant


@pytest.mark.parametrize(
    "wrong",
    [
        "api.example",
        "ftp://api.example",
        "https://",
        "https:///path",
        "https://user@api.example",
        "https://:pass@api.example",
        "https://api.example?x=1",
        "https://api.example#x",
        "https://api.example/a b",
        "https://api.example/%2e",
        "https://api.example:99999",
        "https://api.example:port",
        "https://[::1",
        "https://a b",
        "https://a\nb",
        "https://bänk.example",
        "",
    ],
)
def test_invalid_base_url_is_refused(wrong: str) -> None:
    """At the start."""
    assert "base_url" in error_of(environment=None, base_url=wrong)


@pytest.mark.parametrize("written", ["shared-key", "shared-key\n", "shared-key\r\n"])
def test_line_end_of_client_id_is_dropped(written: str) -> None:
    """A Secret made with ``echo`` has one."""
    assert config(client_id=written).client_id == "shared-key"


@pytest.mark.parametrize("wrong", ["shared:key", "sharéd-key", "shared\nkey", "shared\tkey", "\n"])
def test_client_id_with_a_colon_is_refused(wrong: str) -> None:
    """RFC 7617; the message does not quote it."""
    message = error_of(client_id=wrong)
    assert "\nclient_id\n" in message
    assert wrong not in message or wrong == "\n"


@pytest.mark.parametrize("institution", ["16a", "", " 16", "1" * 21, "٣", "-1", "00016\n"])
def test_institution_is_digits(institution: str) -> None:
    """Nothing else may reach a header."""
    assert "institution" in error_of(institution_id=institution)
    assert "institution" in error_of(allowed_institutions=[institution])


@pytest.mark.parametrize("written", ["00017,00018", " 00017 , 00018 ,", ["00017", "00018"]])
def test_allowed_institutions(written: object) -> None:
    """A list, or text with commas."""
    assert config(allowed_institutions=written).allowed_institutions == ("00017", "00018")


@pytest.mark.parametrize(
    ("section", "name", "wrong"),
    [
        (section, name, wrong)
        for section, name in (
            ("token", "timeout"),
            ("token", "backoff_initial"),
            ("token", "idle"),
            ("upstream", "connect_timeout"),
            ("upstream", "max_age"),
        )
        for wrong in ("0", "-1", "nan", "inf", "1e300", "soon", "")
    ],
)
def test_invalid_duration_is_refused(section: str, name: str, wrong: str) -> None:
    """It must be positive and below a year."""
    assert f"{section}.{name}" in error_of(**{section: {name: wrong}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"upstream": {"max_connections": "0"}},
        {"upstream": {"max_connections": "1.5"}},
        {"grace_period": "-1"},
        {"grace_period": "nan"},
        {"log": {"sample": "1.1"}},
        {"log": {"level": "loud"}},
        {"log": {"access": "sometimes"}},
        {"log": "debug"},
        {"environment": "moon"},
        {"client_id": ""},
        {"trust_network": "perhaps"},
        {"token": {"jitter_fraction": "0.6"}},
    ],
)
def test_invalid_value_is_refused(wrong: dict[str, Any]) -> None:
    """With its path."""
    name, value = next(iter(wrong.items()))
    path = f"{name}.{next(iter(value))}" if isinstance(value, dict) else name
    assert path in error_of(**wrong)


def test_contradictory_margins_are_refused() -> None:
    """Valid alone, but not together."""
    assert "token.margin_min: must not exceed" in error_of(token={"margin_min": 400})


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
        ("proxy.internal:1", "proxy.internal", 1),
    ],
)
def test_address_is_parsed(written: str, host: str, port: int) -> None:
    """HOST:PORT, with IPv6 in brackets; it prints as written."""
    address = Address.parse(written)
    assert (address.host, address.port) == (host, port)
    assert str(address) == written


@pytest.mark.parametrize(
    "wrong", ["", "123456", "host", "host:", "::1:80", "host:99999", "host:-1", "a b:1", "a:1\n"]
)
def test_invalid_address_is_refused(wrong: str) -> None:
    """Anything else."""
    assert "listen" in error_of(listen=wrong)


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1"])
def test_loopback_address_is_accepted(listen: str) -> None:
    """Without authentication."""
    assert config(listen=listen, admin=listen + "2").listen.is_loopback


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "proxy.internal:1"])
def test_public_address_needs_permission(listen: str) -> None:
    """trust_network, or authentication."""
    assert f"listen: other machines can reach {listen}" in error_of(listen=listen)
    assert config(listen=listen, trust_network=True).listen.is_loopback is False


def test_secrets_are_not_shown() -> None:
    """In repr, str, dump or JSON."""
    own = {"00017": {"client_id": "x", "client_secret": "hush-hush"}}
    plain = config(institutions=own)
    shown = f"{plain!r} {plain} {plain.model_dump()} {plain.model_dump_json()}"
    assert "shared-key" in shown
    assert "hush-hush" not in shown


def test_error_does_not_show_the_secret() -> None:
    """Values are left out."""
    assert "hush" not in error_of(grace_period="hush", client_secret={"hush": "hush"})


def test_configuration_is_frozen() -> None:
    """In every part."""
    parts: list[Any] = [config(), *(part for _, part in config() if is_section(type(part)))]
    assert len(parts) > 10
    for part in parts:
        name = next(iter(get_type_hints(type(part))))
        with pytest.raises((FrozenInstanceError, ValidationError)):
            setattr(part, name, None)


@pytest.mark.parametrize("section", [name for name, part in config() if is_section(type(part))])
def test_unknown_keys_are_errors(section: str) -> None:
    """In every section, without quoting values."""
    assert "hush" not in error_of(**{section: {"no_such_setting": "hush"}})


def test_schema_is_complete() -> None:
    """Every setting; addresses are text."""
    schema = Config.model_json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["properties"]["listen"]["type"] == "string"
    assert schema["additionalProperties"] is False
    assert "hush" not in json.dumps(schema)


def test_files_are_paths() -> None:
    """They are read later."""
    changed = config(client_secret=None, client_secret_file="/mnt/secret")
    assert changed.client_secret_file == Path("/mnt/secret")


def test_relaxed_query_characters() -> None:
    """Three characters may be allowed."""
    assert config().relaxed_query_chars == ""
    assert config(relaxed_query_chars="{|}").relaxed_query_chars == "{|}"
    for wrong in ("#", "a", "[", "\\"):
        assert "relaxed_query_chars" in error_of(relaxed_query_chars=wrong)
