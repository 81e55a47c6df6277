"""Parses the responses of the bank's token endpoints: a token or a refusal.

Source: candescent.md, "V2 tokens" and "V1 tokens". Parsing is tolerant where versions differ
(``expires_in`` as a string or a number, V1 in XML or JSON) and strict where it matters: a token
that a header cannot hold is an error.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import quote_plus

from proxy.errors import TokenError, kinds
from proxy.tokens.token import ASSUMED_LIFETIME, MAX_LIFETIME, TokenKind
from proxy.upstream.bank_errors import (
    BankError,
    classify,
    is_of_token_endpoint,
    is_page,
    is_xml,
    json_object,
    read_error,
    xml_fields,
)

_TOKEN_TEXT = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A token, or a refresh token, as issued. The lifetime is in seconds."""

    text: str = field(repr=False)
    lifetime: float


class TokenExpiringError(TokenError):
    """The endpoint handed out a token with less than a second left: ``left`` seconds.

    Some hand out the same one until it expires, so another follows soon.
    """

    def __init__(self, left: float) -> None:
        super().__init__(
            kinds.TOKEN_MALFORMED,
            "The token endpoint issued a token with less than a second left.",
        )
        self.left = left


def parse_response(
    kind: TokenKind,
    status: int,
    body: bytes,
    retry_after: float | None = None,
    secrets: Collection[str] = (),
    *,
    has_user: bool = True,
) -> TokenResponse:
    """Return the token in a response of a token endpoint.

    Raises ``TokenError``: the bank's refusal, also if it arrives with a 200, ``WRONG_SERVER`` for a
    web page or a missing endpoint, or ``MALFORMED`` for a 200 with neither an error nor a usable
    token. ``secrets`` are removed from the bank's message. ``has_user``: the grant names a user.
    """
    if _is_of_another_server(status, body, has_user=has_user):
        page = " with a web page" if is_page(body) else ""
        raise TokenError(
            kinds.TOKEN_WRONG_SERVER,
            f"{kinds.TOKEN_WRONG_SERVER.cause} It responded {status}{page}.",
            code=read_error(body).code or None,
        )
    if status not in (200, 201):
        raise refusal(kind, status, read_error(body), retry_after, secrets)
    fields = _fields(body)
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
    return TokenResponse(text, read_lifetime(fields.get("expires_in")))


def parse_refresh_token(status: int, body: bytes) -> TokenResponse | None:
    """Return the refresh token in a response, if there is one, whatever else it holds.

    It has replaced the one that was sent, even if the access token beside it is unusable.
    """
    if status not in (200, 201):
        return None
    fields = _fields(body)
    text = fields.get("refresh_token")
    if not isinstance(text, str) or not _TOKEN_TEXT.fullmatch(text):
        return None
    return TokenResponse(text, _refresh_lifetime(fields.get("refresh_token_expires_in")))


def _fields(body: bytes) -> dict[str, object]:
    return dict(xml_fields(body)) if is_xml(body) else json_object(body)


def _is_of_another_server(status: int, body: bytes, *, has_user: bool) -> bool:
    """Whether no token endpoint of the bank made this response; its gateway's pages are 5xx."""
    error = read_error(body)
    if error.code and is_of_token_endpoint(error, has_user=has_user):
        return False
    if status in (404, 405, 501):
        return True
    if error.code:  # of a resource, which takes the call for one with an invalid token
        return status in (400, 401) and error.code == "CMN_90018"
    return 300 <= status < 400 or (200 <= status < 300 and is_page(body))


def _is_bearer(token_type: object) -> bool:
    # V1 sends no type; RFC 6749 section 5.1 ignores case, and Apigee writes "BearerToken".
    if token_type is None:
        return True
    return isinstance(token_type, str) and token_type.lower() in ("bearer", "bearertoken", "")


def _refresh_lifetime(raw: object) -> float:
    # Apigee sends 0 or -1 for one that does not expire. Trying an expired one costs one refusal.
    seconds = MAX_LIFETIME if _is_misread(raw) else _seconds(raw, MAX_LIFETIME)
    return seconds if 0 < seconds < math.inf else MAX_LIFETIME


def read_lifetime(raw: object) -> float:
    """Return the lifetime in seconds for a value of ``expires_in``.

    A missing value or one that is not a number counts as five minutes, one over thirty days as
    thirty days. Raises ``TokenExpiringError`` for less than a second, and ``TokenError``
    (``MALFORMED``) for less than zero, and for ``true`` or a number that only Python accepts
    (``3_600``, non-ASCII digits).
    """
    if _is_misread(raw):
        raise TokenError(
            kinds.TOKEN_MALFORMED, "The token endpoint issued a token with an unusable expires_in."
        )
    seconds = _seconds(raw, ASSUMED_LIFETIME)
    if seconds < 0:
        raise TokenError(
            kinds.TOKEN_MALFORMED, "The token endpoint issued a token that has expired already."
        )
    if seconds < 1:
        raise TokenExpiringError(seconds)
    return min(seconds, MAX_LIFETIME)


def lifetime_left(lifetime: float, age: str | None) -> float:
    """Return the lifetime without the ``Age`` of a response from a cache (RFC 9111 section 5.1).

    An invalid ``Age`` is ignored. Raises ``TokenExpiringError`` for less than a second.
    """
    if age is None or not re.fullmatch(r"[0-9]{1,9}", age):
        return lifetime
    left = lifetime - float(age)
    if left < 1:
        raise TokenExpiringError(max(left, 0.0))
    return left


_NUMBER = re.compile(
    r"\s*(?:[+-]?[0-9.]+(?:e[+-]?[0-9]+)?|[+-]?[a-z]+)\s*", re.ASCII | re.IGNORECASE
)


def _is_misread(raw: object) -> bool:
    """Whether ``float`` accepts a value that is not a number in JSON or XML."""
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
"""The three forms of RFC 9110 section 5.6.7; ``email.utils`` accepts many others."""


def _http_date(raw: str | None) -> float | None:
    """Return Unix seconds, or None if it is not an HTTP date."""
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
    """Return the ``TokenError`` for a refusal by the bank."""
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
"""Characters of a bank's message that are shown; the documented ones have at most 80."""

HIDDEN = "[hidden]"
"""Replaces a secret in a message."""

_LIKE_A_TOKEN = re.compile(
    r"(?=[A-Za-z+/=._~-]*+[0-9])[A-Za-z0-9+/=._~-]{16,}|[A-Za-z0-9+/=._~-]{64,}"
)


def clean_message(message: str, secrets: Collection[str] = ()) -> str:
    """Return a bank's message for operators: short, printable ASCII, without secrets.

    ``secrets`` in any form encoding and everything that looks like a token are replaced, because
    some servers repeat the request in ``error_description``.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        for written in {secret, quote_plus(secret)} - {""}:
            message = message.replace(written, HIDDEN)
    printable = re.sub(r"[^\x20-\x7e]+", " ", message[: 8 * MAX_MESSAGE])
    text = " ".join(_LIKE_A_TOKEN.sub(HIDDEN, printable).replace('"', "'").split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
