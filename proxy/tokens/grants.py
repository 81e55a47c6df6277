"""PURE: the bank's token endpoints in words and bytes: the request, the answer, the refusal.

Source: candescent.md, "V2 tokens" and "V1 tokens". Read tolerantly where versions disagree
(``expires_in`` a string or a number, V1 in XML or JSON) and strictly where it matters: a token
that could not stand in a header is an error, never injected.
"""

import math
import re
from base64 import b64encode
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlencode

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


class Grant(StrEnum):
    """How a token is obtained."""

    CLIENT_CREDENTIALS = "client_credentials"
    PASSWORD = "password"  # noqa: S105 - the grant's name
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the grant's name
    AUTHORIZATION_CODE = "authorization_code"


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

    ``username`` and ``password`` belong to the password grant; ``scopes`` are V2's, space or
    comma separated as the bank documents them, and empty for all that are allowed.
    """

    credentials: Credentials
    grant: Grant = Grant.CLIENT_CREDENTIALS
    username: str = ""
    password: str = field(default="", repr=False)
    scopes: str = ""

    @property
    def subject(self) -> str:
        """Whose refresh tokens these are: those of another login are of no use, or worse."""
        return f"{self.grant} {self.credentials.client_id} {self.username}"


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
    refresh_token_or_code: str = "",
) -> TokenRequest:
    """Return the request for a token.

    ``refresh_token_or_code`` is the refresh token or the authorization code, where ``login.grant``
    is the grant that shows one.
    """
    form = _form(login, refresh_token_or_code)
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


def _form(login: Login, refresh_token_or_code: str) -> dict[str, str]:
    form = {"grant_type": login.grant.value}
    if login.grant is Grant.PASSWORD:
        form |= {"username": login.username, "password": login.password}
    elif login.grant is Grant.REFRESH_TOKEN:
        form["refresh_token"] = refresh_token_or_code
    elif login.grant is Grant.AUTHORIZATION_CODE:
        form["code"] = refresh_token_or_code
    return form


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
    kind: TokenKind, status: int, body: bytes, retry_after: float | None = None
) -> TokenResponse:
    """Return the token in an answer of a token endpoint.

    Raises ``TokenError``: the bank's refusal by its class, or ``MALFORMED`` for a 200 that holds
    no token that could be sent.
    """
    if status != 200:
        raise refusal(kind, status, read_error(body), retry_after)
    fields: dict[str, object] = dict(xml_fields(body)) if is_xml(body) else json_object(body)
    text = fields.get("access_token")
    if not isinstance(text, str) or not _TOKEN_TEXT.fullmatch(text):
        raise TokenError(
            kinds.TOKEN_MALFORMED,
            "The token endpoint responded 200 without a usable access_token.",
        )
    refresh_token_or_code = fields.get("refresh_token")
    usable = isinstance(refresh_token_or_code, str) and _TOKEN_TEXT.fullmatch(refresh_token_or_code)
    return TokenResponse(
        text,
        read_lifetime(fields.get("expires_in")),
        refresh_token_or_code if usable and isinstance(refresh_token_or_code, str) else "",
        _refresh_lifetime(fields.get("refresh_token_expires_in")),
    )


def _refresh_lifetime(raw: object) -> float:
    # Apigee says 0 or -1 of one that does not expire. Trying a dead one costs a single refusal.
    seconds = _seconds(raw, MAX_LIFETIME)
    return seconds if 0 < seconds < math.inf else MAX_LIFETIME


def read_lifetime(raw: object) -> float:
    """Return the lifetime in seconds that ``expires_in`` stands for.

    A missing value or one that is no number counts as five minutes; one over thirty days as
    thirty days. Less than a second is no token at all: raises ``TokenError`` (``MALFORMED``).
    """
    seconds = _seconds(raw, ASSUMED_LIFETIME)
    if seconds < 1:
        raise TokenError(
            kinds.TOKEN_MALFORMED, "The token endpoint issued a token that has expired already."
        )
    return min(seconds, MAX_LIFETIME)


def _seconds(raw: object, otherwise: float) -> float:
    try:
        seconds = float(raw) if isinstance(raw, str | int | float) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    return otherwise if math.isnan(seconds) else seconds


def read_retry_after(raw: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, or None where it has none to give."""
    return float(raw) if raw is not None and re.fullmatch(r"[0-9]{1,9}", raw) else None


def refusal(
    kind: TokenKind, status: int, error: BankError, retry_after: float | None = None
) -> TokenError:
    """Return the ``TokenError`` that a refusal by the bank stands for."""
    reason = classify(status, error, v1=kind is TokenKind.V1)
    said = f" ({error.code})" if error.code else ""
    return TokenError(
        reason,
        f"{reason.cause} The bank said {status}{said}.",
        code=error.code or None,
        retry_after=retry_after,
    )
