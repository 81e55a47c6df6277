"""PURE: the bank's token endpoint in words and bytes: the request, the answer, the refusal.

Source: candescent.md, "V2 tokens" and "Errors on a token call". The endpoint is read tolerantly
where versions disagree (``expires_in`` a string or a number) and strictly where it matters: a
token that could not stand in a header is an error, never injected.
"""

import json
import math
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from proxy.errors import TokenError, TokenFailure
from proxy.tokens.token import ASSUMED_LIFETIME, MAX_LIFETIME, TokenKey

_TOKEN_TEXT = re.compile(r"[\x21-\x7e]{1,8192}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


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
class TokenRequest:
    """A POST to the token endpoint; ``path`` stands behind the base URL."""

    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """What a good answer holds. ``lifetime`` is in seconds."""

    text: str = field(repr=False)
    lifetime: float


def client_credentials(
    key: TokenKey, credentials: Credentials, transaction_id: str, user_agent: str
) -> TokenRequest:
    """Return the request for an institution-level V2 token."""
    return TokenRequest(
        path="/oauth2/v1/token",
        headers={
            "Authorization": credentials.basic,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "User-Agent": user_agent,
            "transactionId": transaction_id,
            "institutionId": key.institution,
        },
        body=urlencode({"grant_type": "client_credentials"}).encode("ascii"),
    )


def read_answer(status: int, body: bytes, retry_after: float | None = None) -> Issued:
    """Return the token in an answer of the token endpoint.

    Raises ``TokenError``: the bank's refusal by its class, or ``MALFORMED`` for a 200 that holds
    no token that could be sent.
    """
    document = _json_object(body)
    if status != 200:
        raise _refusal(status, document, retry_after)
    text = document.get("access_token")
    if not isinstance(text, str) or not _TOKEN_TEXT.fullmatch(text):
        raise TokenError(
            TokenFailure.MALFORMED,
            "The token endpoint answered 200 without a usable access_token.",
        )
    return Issued(text, read_lifetime(document.get("expires_in")))


def read_lifetime(raw: object) -> float:
    """Return the lifetime in seconds that ``expires_in`` stands for.

    A missing value or one that is no number counts as five minutes; one over thirty days as
    thirty days. Less than a second is no token at all: raises ``TokenError`` (``MALFORMED``).
    """
    try:
        seconds = float(raw) if isinstance(raw, str | int | float) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds):
        return ASSUMED_LIFETIME
    if seconds < 1:
        raise TokenError(
            TokenFailure.MALFORMED, "The token endpoint issued a token that is already dead."
        )
    return min(seconds, MAX_LIFETIME)


def read_retry_after(raw: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, or None where it has none to give."""
    return float(raw) if raw is not None and re.fullmatch(r"\d{1,9}", raw) else None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(status: int, document: dict[str, Any], retry_after: float | None) -> TokenError:
    code, message = error_code(document)
    reason = classify(status, code, message)
    said = f" ({code})" if code else ""
    return TokenError(
        reason,
        f"{_ADVICE[reason]} The bank said {status}{said}.",
        code=code,
        retry_after=retry_after,
    )


def error_code(document: dict[str, Any]) -> tuple[str | None, str]:
    """Return the code and message of a CMN error or of an Apigee fault; the code may be None."""
    fault = document.get("fault")
    if isinstance(fault, dict):
        detail = fault.get("detail")
        code = detail.get("errorcode") if isinstance(detail, dict) else None
        message = fault.get("faultstring")
    else:
        code, message = document.get("code"), document.get("message")
    readable = isinstance(code, str) and _CODE.fullmatch(code)
    return (code if readable else None), (message if isinstance(message, str) else "")


_BY_CODE = {
    "CMN_90002": TokenFailure.THROTTLED,
    "CMN_90003": TokenFailure.THROTTLED,
    "policies.ratelimit.QuotaViolation": TokenFailure.THROTTLED,
    "policies.ratelimit.SpikeArrestViolation": TokenFailure.THROTTLED,
    "CMN_90004": TokenFailure.BAD_CLIENT,
    "CMN_90021": TokenFailure.BAD_CLIENT,
    "CMN_90005": TokenFailure.BAD_INSTITUTION,
    "CMN_90006": TokenFailure.BAD_INSTITUTION,
}


def classify(status: int, code: str | None, message: str) -> TokenFailure:
    """Return the class of a refused token call, from status, code and message together.

    Codes repeat with other meanings in other versions, so an unknown one falls back to what
    the message says and then to the status.
    """
    words = message.lower()
    if status == 429 or "quota" in words or "spike" in words:
        return TokenFailure.THROTTLED
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 401:
        return TokenFailure.BAD_CLIENT
    if status >= 500:
        return TokenFailure.SERVER
    return TokenFailure.BAD_REQUEST if status >= 400 else TokenFailure.MALFORMED


_ADVICE = {
    TokenFailure.BAD_CLIENT: "The bank refused the client id and secret; check both.",
    TokenFailure.BAD_INSTITUTION: (
        "The bank refused the institution for this application; check institution_id."
    ),
    TokenFailure.BAD_REQUEST: "The bank refused the token request.",
    TokenFailure.THROTTLED: "The bank's quota or spike limit for tokens is used up; waiting.",
    TokenFailure.SERVER: "The bank's token endpoint failed; it is asked again.",
    TokenFailure.MALFORMED: "The token endpoint gave an answer that is none.",
}
