"""Which login gets the tokens of an institution, and that none of them shows its secret."""

from proxy.tokens.credentials import Logins
from proxy.tokens.grants import Credentials, Login, Password
from proxy.tokens.token import TokenKey, TokenKind


def test_credentials_show_no_secret() -> None:
    """Neither the repr of credentials nor that of what holds them has the secret in it."""
    login = Login(Credentials("my-id", "hush-1"), Password("ann", "hush-2"))
    held = Logins(login, {"00017": login}, "00016")
    for shown in (repr(held), str(held), repr(login), f"{login.credentials}"):
        assert "hush" not in shown
        assert "aHVzaC" not in shown  # nor its base64
        assert "my-id" in shown


def test_basic_is_the_pair_in_base64() -> None:
    """The ``Authorization`` value of a token call, from RFC 7617's own example."""
    assert Credentials("Aladdin", "open sesame").basic == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_each_institution_has_its_own_login() -> None:
    """A login of its own wins; another institution has the default's client, not its user."""
    default = Login(Credentials("id", "x"), Password("ann", "pass"), scopes="accounts:read")
    own = Login(Credentials("other", "y"))
    held = Logins(default, {"00017": own}, "00016")
    logins = [held.for_key(TokenKey(TokenKind.V2, name)) for name in ("00016", "00017", "00018")]
    assert logins == [default, own, Login(default.credentials, scopes="accounts:read")]
