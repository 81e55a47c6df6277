"""Grants, logins, and the requests to the bank's token endpoints.

Source: candescent.md, "V2 tokens" and "V1 tokens".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar
from urllib.parse import urlencode

from proxy.tokens.client_authentication import Credentials
from proxy.tokens.token import TokenKey, TokenKind


class Grant:
    """How a login obtains tokens (RFC 6749 section 1.3). Each grant is one subclass.

    ``fields`` are the settings that it needs, ``secrets`` those of them that are secret and may be
    in a file (``NAME_file``).
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()
    is_shared: ClassVar[bool] = False
    """Whether the tokens are the application's own, so that a fleet may share them."""
    can_be_verified: ClassVar[bool] = True
    """Whether the login can obtain a token any number of times."""
    has_refresh_token: ClassVar[bool] = False
    """Whether the bank issues a refresh token, which then renews the login (V2)."""

    @property
    def user(self) -> str:
        """The user's name; empty for the application's own tokens and if it is unknown."""
        return ""

    def form(self) -> dict[str, str]:
        """Return the form fields of the token request."""
        return {"grant_type": self.name}

    def for_kind(self, _kind: TokenKind) -> "Grant":
        """Return the grant for tokens of a kind: another one if the API version lacks this one."""
        return self


@dataclass(frozen=True, slots=True)
class ClientCredentials(Grant):
    """The application itself (RFC 6749 section 4.4)."""

    name = "client_credentials"
    is_shared = True


@dataclass(frozen=True, slots=True)
class Password(Grant):
    """A user by name and password (RFC 6749 section 4.3)."""

    name = "password"
    fields = ("username", "password")
    secrets = ("password",)
    has_refresh_token = True

    username: str
    password: str = field(repr=False)

    @property
    def user(self) -> str:
        """The user's name."""
        return self.username

    def form(self) -> dict[str, str]:
        """Return the form fields with name and password."""
        return {"grant_type": self.name, "username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True)
class RefreshToken(Grant):
    """A refresh token, which is good once (RFC 6749 section 6). It cannot be configured."""

    name = "refresh_token"
    can_be_verified = False

    token: str = field(repr=False)

    def form(self) -> dict[str, str]:
        """Return the form fields with the refresh token."""
        return {"grant_type": self.name, "refresh_token": self.token}


@dataclass(frozen=True, slots=True)
class AuthorizationCode(Grant):
    """A person who has logged in at the bank (RFC 6749 section 4.1).

    The code is good once, so it is empty in a configured login; its refresh token is kept.
    """

    name = "authorization_code"
    can_be_verified = False
    has_refresh_token = True

    code: str = field(default="", repr=False)

    def form(self) -> dict[str, str]:
        """Return the form fields with the code."""
        return {"grant_type": self.name, "code": self.code}

    def for_kind(self, kind: TokenKind) -> Grant:
        """Return client credentials for V1, which has no authorization codes."""
        return ClientCredentials() if kind is TokenKind.V1 else self


CONFIGURABLE: Mapping[str, type[Grant]] = {
    grant.name: grant for grant in (ClientCredentials, Password, AuthorizationCode)
}
"""The grants that a login may be configured with, by the name in its form."""


@dataclass(frozen=True, slots=True)
class Login:
    """The credentials and the grant for the tokens of one institution.

    ``scopes`` are V2's, separated by spaces or commas as the bank documents them; empty for all
    that are allowed.
    """

    credentials: Credentials
    grant: Grant = ClientCredentials()
    scopes: str = ""

    @property
    def subject(self) -> str:
        """Identifies the owner of the tokens: grant, application and user, without secrets."""
        return f"{self.grant.name} {self.credentials.client_id} {self.grant.user}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets that a token request of this login contains, to be hidden in messages."""
        fields = {name: value for name, value in self.grant.form().items() if name != "grant_type"}
        return (*self.credentials.secrets, *fields.values())

    def for_kind(self, kind: TokenKind) -> "Login":
        """Return the login for tokens of ``kind``."""
        return replace(self, grant=self.grant.for_kind(kind))


@dataclass(frozen=True, slots=True)
class ApplicationInfo:
    """What a token request says about the application. The last two are V1's, and optional."""

    user_agent: str
    originating_ip: str = ""
    offering_id: str = ""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to a token endpoint; ``path`` is relative to the base URL."""

    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def token_request(
    key: TokenKey,
    login: Login,
    transaction_id: str,
    caller: ApplicationInfo,
    now: float = 0.0,
) -> TokenRequest:
    """Return the POST request for a token, with the grant of ``login``; ``now`` in Unix seconds."""
    headers, proof = login.credentials.proof(transaction_id, now)
    form = login.grant.form() | proof
    headers |= {
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": caller.user_agent,
    }
    if key.kind is TokenKind.V1:
        headers |= {
            "Accept": "application/xml",
            "di_fiid": key.institution,
            "di_tid": transaction_id,
        }
        optional = {"originating_ip": caller.originating_ip, "offering_id": caller.offering_id}
        headers |= {name: value for name, value in optional.items() if value}
        path = "/v1/oauth/token"
    else:
        headers |= {
            "Accept": "application/json",
            "transactionId": transaction_id,
            "institutionId": key.institution,
        }
        if login.scopes:
            form["scopes"] = login.scopes
        path = "/oauth2/v1/token"
    return TokenRequest(path, headers, urlencode(form).encode("ascii"))


def revocation_request(
    text: str, credentials: Credentials, transaction_id: str, now: float = 0.0
) -> TokenRequest:
    """Return the DELETE request that revokes a V2 access or refresh token."""
    headers, proof = credentials.proof(transaction_id, now)
    headers |= {
        "Content-Type": "application/x-www-form-urlencoded",
        "transactionId": transaction_id,
    }
    form = {"token": text} | proof
    return TokenRequest("/oauth2/v1/revoke", headers, urlencode(form).encode("ascii"))
