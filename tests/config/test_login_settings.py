"""Sections of the configuration: accepted values and errors."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from proxy.config import loader
from proxy.config.login_settings import LoginSettings
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.tokens.grants import AuthorizationCode, ClientCredentials, Grant, Password

GOOD: dict[str, Any] = {
    "base_url": "http://127.0.0.1:1",
    "client_id": "key",
    "client_secret": "secret",
    "institution_id": "00016",
}


def load(**changes: Any) -> Config:
    """Return a valid configuration with changes; None removes a setting."""
    merged = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return loader.load(None, {}, merged)


def errors_of(**changes: Any) -> list[str]:
    """Return the errors of a configuration with these changes."""
    with pytest.raises(ConfigError) as error:
        load(**changes)
    return error.value.errors


DIGITS = "expected 1 to 20 digits with leading zeros, such as 00016"
USERNAME_ONLY = "username and password are for grant: password"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"institution_id": "16a"}, f"institution_id: {DIGITS}"),
        ({"institution_id": "١٦"}, f"institution_id: {DIGITS}"),
        ({"institution_id": "1" * 21}, f"institution_id: {DIGITS}"),
        ({"institution_id": " 16"}, f"institution_id: {DIGITS}"),
        ({"allowed_institutions": "00017, x"}, f"allowed_institutions.1: {DIGITS}"),
        ({"allowed_institutions": ["00017", "-1"]}, f"allowed_institutions.1: {DIGITS}"),
        (
            {"token": {"auth_method": "private_key_jwt"}},
            "client_key_file: needed for token.auth_method: private_key_jwt",
        ),
        (
            {"client_secret": None, "client_key_file": "key"},
            "client_key_file: needs token.auth_method: private_key_jwt",
        ),
        (
            {"client_key_file": "key", "token": {"auth_method": "private_key_jwt"}},
            "client_key_file: needs no client_secret; set one of them",
        ),
        ({"client_key_id": "one"}, "client_key_id: needs client_key_file"),
        (
            {"token": {"auth_method": "post", "basic_encoding": "form"}},
            "token.basic_encoding: form is for token.auth_method: basic",
        ),
        (
            {"token": {"assertion_audience": "https://bank.example"}},
            "token.assertion_audience: needs token.auth_method: private_key_jwt",
        ),
        ({"grant": "implicit"}, "grant: expected 'client_credentials'"),
        ({"grant": "refresh_token"}, "grant: expected 'client_credentials'"),
        ({"grant": "password"}, "username: needed for grant: password"),
        ({"username": "juniper"}, "password: set either password or password_file"),
        (
            {"grant": "client_credentials", "username": "juniper", "password": "x"},
            f"username: {USERNAME_ONLY}",
        ),
        ({"password": "moonlight"}, f"username: {USERNAME_ONLY}"),
        (
            {"grant": "authorization_code"},
            "refresh_token_file: needed for grant: authorization_code",
        ),
        (
            {"host_user_id": "1", "login_id": "2"},
            "host_user_id: set host_user_id or login_id, not both",
        ),
        (
            {"member_number": "12-3456789"},
            "member_number: needs login_id, by which the user is looked up",
        ),
        (
            {"login_id": "a", "member_number": "1", "institution_customer_id": "2"},
            "member_number: set member_number or institution_customer_id, not both",
        ),
        (
            {"institution_customer_id": "a b"},
            "institution_customer_id: expected text",
        ),
        ({"host_user_id": ""}, "host_user_id: must not be empty"),
        (
            {"client_id_file": "/x"},
            "client_id: set either client_id or client_id_file, not both",
        ),
        (
            {"client_secret_file": "/x"},
            "client_secret: set either client_secret or client_secret_file, not both",
        ),
        ({"client_id": None}, "client_id: set either client_id or client_id_file"),
        ({"client_secret": None}, "client_secret: set either client_secret or client_secret_file"),
        ({"client_secret": "a\x00b"}, "client_secret: expected one line of printable ASCII"),
        ({"client_secret": "a\nb"}, "client_secret: expected one line of printable ASCII"),
        ({"bearer_token": "tökén"}, "bearer_token: expected one line of printable ASCII"),
        (
            {"bearer_token": "abc", "revoke_on_shutdown": "true"},
            "revoke_on_shutdown: does not work with bearer_token, which is not revoked",
        ),
        ({"v1": {"user_agent": "App"}}, "v1.user_agent: expected App/Version"),
        ({"v1": {"user_agent": "App/1.0\r\nX: y"}}, "v1.user_agent: expected App/Version"),
        (
            {"v1": {"originating_ip": "here"}},
            "v1.originating_ip: expected an IP address",
        ),
        ({"v1": {"offering_id": "a b"}}, "v1.offering_id: expected text"),
        ({"access": {"deny": ["v1/x"]}}, "access.deny.0.path: 'v1/x' does not begin with a slash"),
        (
            {"access": {"allow": ["/a/**/b"]}},
            "access.allow.0.path: '/a/**/b': '**' is not a segment",
        ),
        ({"access": {"mode": "ask"}}, "access.mode: expected 'enforce' or 'warn'"),
        (
            {"access": {"deny": [{"path": "/x", "methods": "GET,FETCH"}]}},
            "access.deny.0.methods.1: expected 'GET'",
        ),
        ({"routes": [{"path": "/x"}]}, "routes.0.token: "),
        ({"routes": [{"path": "/x", "token": "v3"}]}, "routes.0.token: expected 'v1' or"),
        ({"headers": {"customer_id_paths": ["x"]}}, "headers.customer_id_paths.0.path: 'x' does"),
    ],
    ids=str,
)
def test_error_is_one_line_with_its_path(changes: dict[str, Any], expected: str) -> None:
    """It begins with the path of the setting."""
    found = errors_of(**changes)
    assert len([line for line in found if line.startswith(expected)]) == 1
    assert not any("\n" in line or line == "secret" for line in found)


def test_errors_of_institutions_have_their_path() -> None:
    """They name the institution."""
    wrong = {
        "00017": {"client_id": "theirs"},
        "00018": {"host_user_id": "1", "login_id": "2"},
        "00019": {"grant": "password", "username": "u", "client_secret": "s"},
    }
    assert [line.partition(", such as")[0] for line in errors_of(institutions=wrong)] == [
        "institutions.00017.client_secret: set either client_secret or client_secret_file",
        "institutions.00018.host_user_id: set host_user_id or login_id, not both",
        "institutions.00019.client_id: set either client_id or client_id_file",
        "institutions.00019.password: set either password or password_file",
    ]
    assert any(
        line.startswith("institutions.abc") and DIGITS in line
        for line in errors_of(institutions={"abc": {}})
    )


def test_unreachable_and_contradictory_routes_are_errors() -> None:
    """A covered rule, or two tokens for one path."""
    routes = [
        {"path": "/a/**", "token": "v1"},
        {"path": "/a/b", "token": "v2"},
        {"path": "/c", "token": "v1", "methods": "get,post"},
        {"path": "/c", "token": "v2", "methods": ["POST", "GET"]},
        {"path": "/c", "token": "v2"},
        {"path": "/d", "token": "v2"},
        {"path": "/d/", "token": "v2"},
    ]
    assert errors_of(routes=routes) == [
        "routes.1: /a/b (any method) is never reached; routes.0 matches all of it first",
        "routes.3: /c (GET,POST) is given two tokens; routes.2 says v1",
        "routes.6: /d (any method) is never reached; routes.5 matches all of it first",
    ]


def test_institutions_keep_their_zeros() -> None:
    """All allowed ones are listed."""
    config = load(allowed_institutions="00017, 017", institutions={"00018": {}})
    assert config.permitted_institutions == {"00016", "00017", "017", "00018"}


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ({}, ClientCredentials),
        ({"username": "juniper"}, Password),
        ({"grant": "authorization_code"}, AuthorizationCode),
        ({"grant": "client_credentials"}, ClientCredentials),
    ],
)
def test_grant_follows_from_the_login(login: dict[str, Any], expected: type[Grant]) -> None:
    """A username implies the password grant."""
    assert LoginSettings(**login).chosen_grant is expected


def test_configuration_is_frozen() -> None:
    """In all its parts."""
    config = load()
    for part, name in ((config, "institution_id"), (config.token, "timeout"), (config.v1, "x")):
        with pytest.raises((ValidationError, FrozenInstanceError)):
            setattr(part, name, "1")
    assert Path("x") not in [*config.files()]


def test_line_end_of_a_secret_is_dropped() -> None:
    """No repr shows it."""
    login = load(client_secret="s3cret\r\n", bearer_token="be4rer\n")
    assert login.client_secret == SecretStr("s3cret")
    assert login.bearer_token == SecretStr("be4rer")
    assert "s3cret" not in repr(login)
    assert "be4rer" not in str(login)
