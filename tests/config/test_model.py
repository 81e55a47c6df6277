"""The configuration as a model: what each setting may be, and what it says of itself."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

from proxy.config.explain import is_section
from proxy.config.model import ENVIRONMENTS, Config
from proxy.server.address import Address

LEAST: dict[str, Any] = {
    "environment": "production",
    "institution_id": "00016",
    "client_id": "shared-key",
    "client_secret": "hush-hush",
}


def config(**settings: Any) -> Config:
    """Return a configuration with these settings besides the least that is needed."""
    return Config.model_validate(LEAST | settings)


def told(**settings: Any) -> str:
    """Return what is said about a configuration that is refused."""
    with pytest.raises(ValidationError) as caught:
        config(**settings)
    return str(caught.value)


def test_defaults_are_the_documented_ones() -> None:
    """What the design promises to those who set nothing."""
    plain = config()
    assert (str(plain.listen), str(plain.admin)) == ("127.0.0.1:8080", "127.0.0.1:9090")
    assert (plain.token.margin_min, plain.token.margin_max) == (60, 300)
    assert (plain.token.refusal_memory, plain.token.backoff_max) == (60, 60)
    assert (plain.log.level, plain.log.format, plain.log.access) == ("info", "auto", "sampled")
    assert plain.trust_network is False


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment_is_short_for_a_base_url(name: str) -> None:
    """Each environment stands for its base URL."""
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
def test_base_url(written: str, meant: str) -> None:
    """Scheme, host, port and path; a slash at the end is left out."""
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
def test_base_url_that_is_none(wrong: str) -> None:
    """A base URL that could not be called is refused at the start."""
    assert "base_url" in told(environment=None, base_url=wrong)


@pytest.mark.parametrize("written", ["shared-key", "shared-key\n", "shared-key\r\n"])
def test_client_id_without_its_line_end(written: str) -> None:
    """A Secret made with ``echo`` has a line end, which is no part of the id."""
    assert config(client_id=written).client_id == "shared-key"


@pytest.mark.parametrize("wrong", ["shared:key", "sharéd-key", "shared\nkey", "shared\tkey", "\n"])
def test_client_id_that_basic_cannot_send(wrong: str) -> None:
    """RFC 7617 has no colon in the user-id; the message names the setting, not the value."""
    message = told(client_id=wrong)
    assert "\nclient_id\n" in message
    assert wrong not in message or wrong == "\n"


@pytest.mark.parametrize("institution", ["16a", "", " 16", "1" * 21, "٣", "-1", "00016\n"])
def test_institution_is_digits(institution: str) -> None:
    """An institution is written in digits, and nothing else may reach a header."""
    assert "institution" in told(institution_id=institution)
    assert "institution" in told(allowed_institutions=[institution])


@pytest.mark.parametrize("written", ["00017,00018", " 00017 , 00018 ,", ["00017", "00018"]])
def test_allowed_institutions(written: object) -> None:
    """A list, or for a variable a row with commas."""
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
def test_time_that_is_none(section: str, name: str, wrong: str) -> None:
    """A time is a number of seconds above nothing and below a year."""
    assert f"{section}.{name}" in told(**{section: {name: wrong}})


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
def test_value_that_is_none(wrong: dict[str, Any]) -> None:
    """A value outside of what makes sense is refused by its path."""
    name, value = next(iter(wrong.items()))
    path = f"{name}.{next(iter(value))}" if isinstance(value, dict) else name
    assert path in told(**wrong)


def test_margins_the_wrong_way_round() -> None:
    """What fits alone but not together is refused too."""
    assert "token.margin_min: must not exceed" in told(token={"margin_min": 400})


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
        ("proxy.internal:1", "proxy.internal", 1),
    ],
)
def test_address(written: str, host: str, port: int) -> None:
    """HOST:PORT, IPv6 in brackets; it prints as it is written."""
    address = Address.parse(written)
    assert (address.host, address.port) == (host, port)
    assert str(address) == written


@pytest.mark.parametrize(
    "wrong", ["", "123456", "host", "host:", "::1:80", "host:99999", "host:-1", "a b:1", "a:1\n"]
)
def test_address_that_is_none(wrong: str) -> None:
    """Anything else is refused."""
    assert "listen" in told(listen=wrong)


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1"])
def test_loopback_needs_nothing_more(listen: str) -> None:
    """An address that only this machine can reach is taken as it is."""
    assert config(listen=listen, admin=listen).listen.is_loopback


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "proxy.internal:1"])
def test_other_addresses_need_the_operators_word(listen: str) -> None:
    """An address that others can reach is refused until somebody vouches for the network."""
    assert f"listen: other machines can reach {listen}" in told(listen=listen)
    assert config(listen=listen, trust_network=True).listen.is_loopback is False


def test_secrets_are_not_shown() -> None:
    """Neither repr nor text, neither dump nor JSON of a configuration has a secret in it."""
    own = {"00017": {"client_id": "x", "client_secret": "hush-hush"}}
    plain = config(institutions=own)
    shown = f"{plain!r} {plain} {plain.model_dump()} {plain.model_dump_json()}"
    assert "shared-key" in shown
    assert "hush-hush" not in shown


def test_mistake_does_not_show_the_secret() -> None:
    """A refused configuration is explained without its values."""
    assert "hush" not in told(grace_period="hush", client_secret={"hush": "hush"})


def test_nothing_changes_once_it_is_read() -> None:
    """Every part of the configuration is frozen."""
    parts: list[Any] = [config(), *(part for _, part in config() if is_section(type(part)))]
    assert len(parts) > 10
    for part in parts:
        name = next(iter(get_type_hints(type(part))))
        with pytest.raises((FrozenInstanceError, ValidationError)):
            setattr(part, name, None)


@pytest.mark.parametrize("section", [name for name, part in config() if is_section(type(part))])
def test_unknown_keys_are_errors(section: str) -> None:
    """Every section refuses keys it does not know, and repeats no value."""
    assert "hush" not in told(**{section: {"no_such_setting": "hush"}})


def test_schema_is_one() -> None:
    """The schema names every setting, and addresses as the text that they are."""
    schema = Config.model_json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["properties"]["listen"]["type"] == "string"
    assert schema["additionalProperties"] is False
    assert "hush" not in json.dumps(schema)


def test_files_are_paths() -> None:
    """A file is kept as a path; whether it can be read is asked when it is."""
    changed = config(client_secret=None, client_secret_file="/mnt/secret")
    assert changed.client_secret_file == Path("/mnt/secret")


def test_relaxed_query_characters() -> None:
    """Only the three that clients send unencoded may be let through."""
    assert config().relaxed_query_chars == ""
    assert config(relaxed_query_chars="{|}").relaxed_query_chars == "{|}"
    for wrong in ("#", "a", "[", "\\"):
        assert "relaxed_query_chars" in told(relaxed_query_chars=wrong)
