"""Token requests and responses, for both generations and every grant."""

import uuid
from base64 import b64decode
from typing import get_args
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.login_settings import LoginSettings
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.grants import (
    CONFIGURABLE,
    ApplicationInfo,
    AuthorizationCode,
    ClientCredentials,
    Grant,
    Login,
    Password,
    RefreshToken,
    TokenRequest,
    revocation_request,
    token_request,
)
from proxy.tokens.token import TokenKey, TokenKind
from proxy.tokens.token_response import TokenResponse

V1, V2 = TokenKey(TokenKind.V1, "00016"), TokenKey(TokenKind.V2, "00016")
CREDENTIALS = Credentials("shared-key", "s3cret:with colon")
CALLER = ApplicationInfo("bench/1.0", "192.0.2.7", "offer-1")
ID = str(uuid.UUID(int=7))


def form(request: TokenRequest) -> dict[str, str]:
    """Return the fields of a request's body, which occur once."""
    fields = parse_qs(request.body.decode(), keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in fields.values())
    return {name: value for name, (value,) in fields.items()}


def test_v2_request_is_the_documented_one() -> None:
    """Basic, form, transactionId and institutionId, at its own path."""
    request = token_request(V2, Login(CREDENTIALS), ID, CALLER)
    assert request.path == "/oauth2/v1/token"
    assert request.headers == {
        "Authorization": CREDENTIALS.basic,
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "bench/1.0",
        "Accept": "application/json",
        "transactionId": ID,
        "institutionId": "00016",
    }
    assert form(request) == {"grant_type": "client_credentials"}


def test_v1_request_is_the_documented_one() -> None:
    """di_fiid, di_tid, user-agent, and configured optional headers."""
    request = token_request(V1, Login(CREDENTIALS, scopes="accounts:read"), ID, CALLER)
    assert request.path == "/v1/oauth/token"
    assert request.headers == {
        "Authorization": CREDENTIALS.basic,
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "bench/1.0",
        "Accept": "application/xml",
        "di_fiid": "00016",
        "di_tid": ID,
        "originating_ip": "192.0.2.7",
        "offering_id": "offer-1",
    }
    assert form(request) == {"grant_type": "client_credentials"}


def test_optional_v1_headers_are_omitted() -> None:
    """Where they have no value."""
    headers = token_request(V1, Login(CREDENTIALS), ID, ApplicationInfo("bench/1.0")).headers
    assert not {"originating_ip", "offering_id"} & headers.keys()


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        (ClientCredentials(), {}),
        (Password("ju niper", "m&o=o+n%"), {"username": "ju niper", "password": "m&o=o+n%"}),
        (RefreshToken("pr/o+of="), {"refresh_token": "pr/o+of="}),
        (AuthorizationCode("pr/o+of="), {"code": "pr/o+of="}),
    ],
)
def test_every_grant_has_its_fields(grant: Grant, expected: dict[str, str]) -> None:
    """Only its own, with any characters."""
    request = token_request(V2, Login(CREDENTIALS, grant, "a:read, b:write"), ID, CALLER)
    assert form(request) == {"grant_type": grant.name, "scopes": "a:read, b:write"} | expected


def test_v1_password_grant() -> None:
    """It has no scope."""
    login = Login(CREDENTIALS, Password("juniper", "moonlight"), "a:read")
    fields = form(token_request(V1, login, ID, CALLER))
    assert fields == {"grant_type": "password", "username": "juniper", "password": "moonlight"}


def test_revocation_is_a_delete_with_a_form() -> None:
    """The token is in the body, so logs of paths do not have it."""
    request = revocation_request("t/o+k", CREDENTIALS, ID)
    assert request.path == "/oauth2/v1/revoke"
    assert form(request) == {"token": "t/o+k"}
    assert request.headers["transactionId"] == ID
    assert request.headers["Authorization"] == CREDENTIALS.basic


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_basic_can_be_decoded(client_id: str, secret: str) -> None:
    """The header has id and secret and permitted bytes only."""
    value = Credentials(client_id, secret).basic
    assert value.isascii()
    assert value.isprintable()
    assert b64decode(value.removeprefix("Basic ")).decode() == f"{client_id}:{secret}"


def test_reprs_show_no_secret() -> None:
    """Of all objects with a secret."""
    login = Login(CREDENTIALS, Password("juniper", "moonlight"))
    once = Login(CREDENTIALS, RefreshToken("proof-of-login")), AuthorizationCode("proof-of-person")
    request = token_request(V2, login, ID, CALLER)
    shown = repr(
        (
            CREDENTIALS,
            login,
            once,
            request,
            TokenResponse("to-ken", 1.0),
            TokenResponse("re-fresh", 1.0),
        )
    )
    for secret in ("s3cret", "moonlight", "proof-of", "to-ken", "re-fresh", CREDENTIALS.basic):
        assert secret not in shown
    assert "juniper" in shown


def test_subject_identifies_a_login() -> None:
    """Grant, client and user; secrets can be rotated."""
    login = Login(CREDENTIALS, Password("juniper", "moonlight"))
    assert login.subject == Login(Credentials("shared-key", "x"), Password("juniper", "y")).subject
    assert login.subject != Login(CREDENTIALS, Password("basil", "moonlight")).subject
    assert login.subject != Login(CREDENTIALS, AuthorizationCode()).subject


def test_v1_has_no_code_grant() -> None:
    """A login by code gets V1 tokens by client credentials."""
    assert AuthorizationCode().for_kind(V1.kind) == ClientCredentials()
    assert AuthorizationCode().for_kind(V2.kind) == AuthorizationCode()
    assert Password("a", "b").for_kind(V1.kind) == Password("a", "b")


def test_configurable_grants_are_those_of_the_setting() -> None:
    """Names and fields agree."""
    annotation = LoginSettings.model_fields["grant"].annotation
    assert set(get_args(get_args(annotation)[0])) == set(CONFIGURABLE)
    for grant in CONFIGURABLE.values():
        wanted = {*grant.fields, *(f"{name}_file" for name in grant.secrets)}
        assert wanted <= set(LoginSettings.model_fields)


def test_v1_tokens_of_a_login_by_code() -> None:
    """The code is for V2 only."""
    login = Login(CREDENTIALS, AuthorizationCode("code"), "scope")
    assert login.for_kind(TokenKind.V2) == login
    assert login.for_kind(TokenKind.V1) == Login(CREDENTIALS, ClientCredentials(), "scope")
