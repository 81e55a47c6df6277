"""PURE: the bank's token endpoints in words and bytes: the request, the answer, the refusal.

Source: candescent.md, "V2 tokens" and "V1 tokens". Read tolerantly where versions disagree
(``expires_in`` a string or a number, V1 in XML or JSON) and strictly where it matters: a token
that could not stand in a header is an error, never injected.
"""

import math
import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import ClassVar
from urllib.parse import quote_plus, urlencode

from proxy.errors import TokenError, kinds
from proxy.tokens.token import ASSUMED_LIFETIME, MAX_LIFETIME, TokenKey, TokenKind
from proxy.upstream.bank_errors import (
    BankError,
    classify,
    is_xml,
    json_object,
    read_error,
    xml_fields,
)

_TOKEN_TEXT = re.compile(r"[\x21-\x7e]{1,8192}")


class Grant:
    """How a login obtains tokens (RFC 6749 section 1.3). A subclass is all there is of a grant.

    ``fields`` are the settings that it needs, ``secrets`` those of them that are secret, which
    may stand in a file (``NAME_file``).
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()
    is_shared: ClassVar[bool] = False
    """Whether the tokens are the application's own, so that a fleet may share them."""
    can_be_verified: ClassVar[bool] = True
    """Whether the login can be shown to the bank again and again, and gets a token each time."""
    has_refresh_token: ClassVar[bool] = False
    """Whether the bank gives a refresh token, which then renews the login (V2)."""

    @property
    def user(self) -> str:
        """Whose tokens they are; empty for the application's own and where it is not known."""
        return ""

    def form(self) -> dict[str, str]:
        """Return the fields of the token call's form."""
        return {"grant_type": self.name}

    def for_kind(self, _kind: TokenKind) -> "Grant":
        """Return the grant that gets tokens of a kind, where that generation lacks this one."""
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
        """Return the fields, name and password among them."""
        return {"grant_type": self.name, "username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True)
class RefreshToken(Grant):
    """A refresh token, which is good once (RFC 6749 section 6). Not one to configure."""

    name = "refresh_token"
    can_be_verified = False

    token: str = field(repr=False)

    def form(self) -> dict[str, str]:
        """Return the fields, the refresh token among them."""
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
        """Return the fields, the code among them."""
        return {"grant_type": self.name, "code": self.code}

    def for_kind(self, kind: TokenKind) -> Grant:
        """Return client credentials for V1, which knows no codes."""
        return ClientCredentials() if kind is TokenKind.V1 else self


CONFIGURABLE: Mapping[str, type[Grant]] = {
    grant.name: grant for grant in (ClientCredentials, Password, AuthorizationCode)
}
"""The grants that a login may be configured with, by the name in its form."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An application's Shared Key and Secret Key, as the vendor's console calls them."""

    client_id: str
    client_secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of the ``Authorization`` header on a token call."""
        pair = f"{self.client_id}:{self.client_secret}".encode()
        return "Basic " + b64encode(pair).decode("ascii")


@dataclass(frozen=True, slots=True)
class Login:
    """With what, and by which grant, the tokens of one institution are obtained.

    ``scopes`` are V2's, space or comma separated as the bank documents them, and empty for all
    that are allowed.
    """

    credentials: Credentials
    grant: Grant = ClientCredentials()
    scopes: str = ""

    @property
    def subject(self) -> str:
        """Whose tokens these are: grant, application and user, without any secret."""
        return f"{self.grant.name} {self.credentials.client_id} {self.grant.user}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What a message about this login must not show: all that a token call sends of it."""
        fields = {name: value for name, value in self.grant.form().items() if name != "grant_type"}
        basic = self.credentials.basic.removeprefix("Basic ")
        return (self.credentials.client_secret, basic, *fields.values())

    def for_kind(self, kind: TokenKind) -> "Login":
        """Return the login for tokens of ``kind``."""
        return replace(self, grant=self.grant.for_kind(kind))


@dataclass(frozen=True, slots=True)
class ApplicationInfo:
    """What a token call says about who makes it. The last two are V1's, and optional."""

    user_agent: str
    originating_ip: str = ""
    offering_id: str = ""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A POST to a token endpoint; ``path`` stands behind the base URL."""

    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """What a good answer holds. Lifetimes are in seconds; ``refresh_token`` may be empty."""

    text: str = field(repr=False)
    lifetime: float
    refresh_token: str = field(default="", repr=False)
    refresh_lifetime: float = 0.0


def token_request(
    key: TokenKey,
    login: Login,
    transaction_id: str,
    caller: ApplicationInfo,
) -> TokenRequest:
    """Return the request for a token, by the grant of ``login``."""
    form = login.grant.form()
    headers = {
        "Authorization": login.credentials.basic,
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


def revocation_request(text: str, credentials: Credentials, transaction_id: str) -> TokenRequest:
    """Return the (DELETE) request that revokes a V2 access or refresh token."""
    return TokenRequest(
        "/oauth2/v1/revoke",
        {
            "Authorization": credentials.basic,
            "Content-Type": "application/x-www-form-urlencoded",
            "transactionId": transaction_id,
        },
        urlencode({"token": text}).encode("ascii"),
    )


def parse_response(
    kind: TokenKind,
    status: int,
    body: bytes,
    retry_after: float | None = None,
    secrets: Collection[str] = (),
) -> TokenResponse:
    """Return the token in an answer of a token endpoint.

    Raises ``TokenError``: the bank's refusal by its class, also where it comes with a 200, or
    ``MALFORMED`` for a 200 that holds neither an error nor a token that could be sent. The
    bank's message is shown without ``secrets``.
    """
    if status not in (200, 201):
        raise refusal(kind, status, read_error(body), retry_after, secrets)
    fields: dict[str, object] = dict(xml_fields(body)) if is_xml(body) else json_object(body)
    text = fields.get("access_token")
    if not isinstance(text, str) or not _TOKEN_TEXT.fullmatch(text):
        if (error := read_error(body)).code:
            raise refusal(kind, status, error, retry_after, secrets)
        raise TokenError(
            kinds.TOKEN_MALFORMED,
            f"The token endpoint responded {status} without a usable access_token.",
        )
    if not _is_bearer(fields.get("token_type")):
        raise TokenError(
            kinds.TOKEN_MALFORMED, "The token endpoint issued a token of another type than Bearer."
        )
    refresh_token = fields.get("refresh_token")
    usable = isinstance(refresh_token, str) and _TOKEN_TEXT.fullmatch(refresh_token)
    return TokenResponse(
        text,
        read_lifetime(fields.get("expires_in")),
        refresh_token if usable and isinstance(refresh_token, str) else "",
        _refresh_lifetime(fields.get("refresh_token_expires_in")),
    )


def _is_bearer(token_type: object) -> bool:
    # V1 names no type; RFC 6749 section 5.1 ignores case, and Apigee writes "BearerToken".
    if token_type is None:
        return True
    return isinstance(token_type, str) and token_type.lower() in ("bearer", "bearertoken", "")


def _refresh_lifetime(raw: object) -> float:
    # Apigee says 0 or -1 of one that does not expire. Trying a dead one costs a single refusal.
    seconds = MAX_LIFETIME if _is_misread(raw) else _seconds(raw, MAX_LIFETIME)
    return seconds if 0 < seconds < math.inf else MAX_LIFETIME


def read_lifetime(raw: object) -> float:
    """Return the lifetime in seconds that ``expires_in`` stands for.

    A missing value or one that is no number counts as five minutes; one over thirty days as
    thirty days. Less than a second is no token at all, and ``true`` or a number that only Python
    reads (``3_600``, digits beyond ASCII) no lifetime: raises ``TokenError`` (``MALFORMED``).
    """
    if _is_misread(raw):
        raise TokenError(
            kinds.TOKEN_MALFORMED, "The token endpoint issued a token with an unusable expires_in."
        )
    seconds = _seconds(raw, ASSUMED_LIFETIME)
    if seconds < 1:
        raise TokenError(
            kinds.TOKEN_MALFORMED, "The token endpoint issued a token that has expired already."
        )
    return min(seconds, MAX_LIFETIME)


_NUMBER = re.compile(
    r"\s*(?:[+-]?[0-9.]+(?:e[+-]?[0-9]+)?|[+-]?[a-z]+)\s*", re.ASCII | re.IGNORECASE
)


def _is_misread(raw: object) -> bool:
    """Whether ``float`` makes a number of what is none in JSON or XML."""
    if isinstance(raw, str):
        return not _NUMBER.fullmatch(raw) and not math.isnan(_seconds(raw, math.nan))
    return isinstance(raw, bool)


def _seconds(raw: object, otherwise: float) -> float:
    try:
        seconds = float(raw) if isinstance(raw, str | int | float) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    return otherwise if math.isnan(seconds) else seconds


def read_retry_after(raw: str | None, date: str | None, now: float) -> float | None:
    """Return the seconds of a ``Retry-After`` header (RFC 9110 section 10.2.3), or None.

    An HTTP date is compared with the response's own ``date``, so that a wrong clock on either
    side does not matter; without a usable one with ``now``, seconds since the epoch.
    """
    if raw is not None and re.fullmatch(r"[0-9]{1,9}", raw):
        return float(raw)
    until = _http_date(raw)
    if until is None:
        return None
    since = _http_date(date)
    return max(until - (now if since is None else since), 0.0)


_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2,8}, \d\d[ -][A-Z][a-z]{2}[ -](\d{2}|\d{4}) \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    re.ASCII,
)
"""The three forms of RFC 9110 section 5.6.7; ``email.utils`` alone takes much else."""


def _http_date(raw: str | None) -> float | None:
    """Return the seconds since the epoch, or None for what is no HTTP date."""
    if raw is None or not _HTTP_DATE.fullmatch(raw):
        return None
    try:
        return parsedate_to_datetime(raw).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def refusal(
    kind: TokenKind,
    status: int,
    error: BankError,
    retry_after: float | None = None,
    secrets: Collection[str] = (),
) -> TokenError:
    """Return the ``TokenError`` that a refusal by the bank stands for."""
    reason = classify(status, error, v1=kind is TokenKind.V1)
    code = f" ({error.code})" if error.code else ""
    return TokenError(
        reason,
        f"{reason.cause} The bank said {status}{code}.",
        code=error.code or None,
        retry_after=retry_after,
        bank_message=clean_message(error.message, secrets),
    )


MAX_MESSAGE = 200
"""Characters of a message of the bank's that are shown; the documented ones have at most 80."""

HIDDEN = "[hidden]"
"""What stands for a secret in a message."""

_LIKE_A_TOKEN = re.compile(r"(?=[^ ]*[0-9])[A-Za-z0-9+/=._~-]{16,}|[A-Za-z0-9+/=._~-]{64,}")


def clean_message(message: str, secrets: Collection[str] = ()) -> str:
    """Return a message of the bank's as an operator may read it: short, printable ASCII.

    Left out are ``secrets`` in any encoding of a form, and whatever looks like a token: some
    servers repeat the request in ``error_description``.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        for written in {secret, quote_plus(secret)} - {""}:
            message = message.replace(written, HIDDEN)
    printable = re.sub(r"[^\x20-\x7e]+", " ", message[: 8 * MAX_MESSAGE])
    text = " ".join(_LIKE_A_TOKEN.sub(HIDDEN, printable).replace('"', "'").split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
