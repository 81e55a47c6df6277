"""Credentials by institution, and reprs without secrets."""

from proxy.tokens.client_authentication import Credentials
from proxy.tokens.credentials import Logins
from proxy.tokens.grants import Login, Password
from proxy.tokens.token import TokenKey, TokenKind


def test_credentials_show_no_secret() -> None:
    """Neither their repr nor that of a container."""
    login = Login(Credentials("my-id", "hush-1"), Password("ann", "hush-2"))
    held = Logins(login, {"00017": login}, "00016")
    for shown in (repr(held), str(held), repr(login), f"{login.credentials}"):
        assert "hush" not in shown
        assert "aHVzaC" not in shown  # nor in base64
        assert "my-id" in shown


def test_basic_example_of_rfc_7617() -> None:
    """Id and secret in base64."""
    assert Credentials("Aladdin", "open sesame").basic == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_institution_may_have_its_own_login() -> None:
    """Others use the default's client, without its user."""
    default = Login(Credentials("id", "x"), Password("ann", "pass"), scopes="accounts:read")
    own = Login(Credentials("other", "y"))
    held = Logins(default, {"00017": own}, "00016")
    logins = [held.for_key(TokenKey(TokenKind.V2, name)) for name in ("00016", "00017", "00018")]
    assert logins == [default, own, Login(default.credentials, scopes="accounts:read")]
