"""Reads and classifies the bank's error responses, on token calls and on resource calls.

Source: candescent.md, "Errors on a token call, and on a resource call". The same code means
different things in different versions, so status, code **and** message are read together. In doubt,
the classification with the least harmful consequence is used.
"""

import json
import re
import zlib
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import Any

import defusedxml.ElementTree as SafeXml
from defusedxml.common import DefusedXmlException

from proxy.errors import TokenFailure, kinds

MAX_ERROR_BODY = 16_384
"""Bytes of a response that are read; the longest documented error has some hundred."""

_READABLE_CODE = re.compile(
    r"[A-Z]{2,12}_[0-9]{1,8}|[0-9]{1,8}|[a-z]{1,40}(?:\.[A-Za-z0-9_]{1,60}){1,6}"
    r"|[a-z]{1,20}(?:_[a-z]{1,20}){1,4}|(?:[A-Z][a-z]{1,20}){2,6}"
)
"""Codes of the bank, V1, gateway faults, RFC 6749, and Apigee's ``ErrorCode``."""


@dataclass(frozen=True, slots=True)
class BankError:
    """An error of the bank; ``code`` and ``message`` may be empty."""

    code: str = ""
    message: str = ""


_NOT_A_PAGE = (b"<token", b"<status", b"<?xml")


def read_error(body: bytes, *, gzipped: bool = False) -> BankError:
    """Return the error in a body: CMN JSON, V1 ``Status`` (XML or JSON), RFC 6749, or Apigee's.

    Anything else gives an empty error.
    """
    if gzipped:
        body = _decompress(body)
    return _from_xml(body) if is_xml(body) else _from_json(body)


def is_xml(body: bytes) -> bool:
    """Whether a body is XML rather than JSON, by its first character."""
    return body.removeprefix(BOM_UTF8).lstrip()[:1] == b"<"


def is_page(body: bytes) -> bool:
    """Whether a body is a web page rather than a response of the bank's API."""
    start = body[:1024].lstrip().lower()
    return start.startswith(b"<") and not start.startswith(_NOT_A_PAGE) and b"<html" in start


def _decompress(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(body, MAX_ERROR_BODY)
    except zlib.error:
        return b""


def _from_json(body: bytes) -> BankError:
    document = json_object(body)
    fault = document.get("fault")
    if isinstance(fault, dict):
        detail = fault.get("detail")
        code = detail.get("errorcode") if isinstance(detail, dict) else None
        return _error(code, fault.get("faultstring"))
    info = document.get("errorInfo")
    if isinstance(info, dict):
        return _error(
            info.get("errorCode"), info.get("errorMessage", document.get("statusMessage"))
        )
    if "ErrorCode" in document:  # Apigee's own token endpoint
        return _error(document["ErrorCode"], document.get("Error"))
    if "error" in document and "code" not in document:  # RFC 6749 section 5.2
        return _error(document["error"], document.get("error_description", document.get("message")))
    return _error(document.get("code"), document.get("message"))


def _from_xml(body: bytes) -> BankError:
    fields = xml_fields(body)
    return _error(fields.get("errorCode"), fields.get("errorMessage", fields.get("statusMessage")))


def _error(code: object, message: object) -> BankError:
    text = str(code) if isinstance(code, str | int) else ""
    return BankError(
        text if _READABLE_CODE.fullmatch(text) else "",
        message if isinstance(message, str) else "",
    )


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``, or an empty one."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def xml_fields(body: bytes) -> dict[str, str]:
    """Return the text of each leaf element by its local name, in any namespace.

    A document with entities or a DTD, or a malformed one, gives an empty result.
    """
    try:
        root = SafeXml.fromstring(body.removeprefix(BOM_UTF8).lstrip(), forbid_dtd=True)
    except (SafeXml.ParseError, DefusedXmlException, ValueError, LookupError):
        return {}
    return {
        element.tag.rpartition("}")[2]: (element.text or "").strip()
        for element in root.iter()
        if len(element) == 0
    }


_THROTTLED = frozenset(
    {
        "CMN_90002",
        "CMN_90003",
        "91000",
        "92000",
        "policies.ratelimit.QuotaViolation",
        "policies.ratelimit.SpikeArrestViolation",
    }
)
_SPENT_AS_500 = "90001"
"""An exceeded quota in the version of V1 that has no separate code for it."""

_BY_CODE = {
    "CMN_90019": kinds.TOKEN_SERVER,  # "Error creating token", also as 400
    **dict.fromkeys(("CMN_90004", "CMN_90020", "CMN_90021"), kinds.TOKEN_BAD_CLIENT),
    **dict.fromkeys(("CMN_90005", "CMN_90006"), kinds.TOKEN_BAD_INSTITUTION),
    **dict.fromkeys(
        ("CMN_90009", "CMN_90013", "CMN_90014", "CMN_90015", "CMN_90016", "CMN_90018"),
        kinds.TOKEN_BAD_USER,
    ),
}


_BY_OAUTH_CODE = {
    "invalidclient": kinds.TOKEN_BAD_CLIENT,
    "invalidclientidentifier": kinds.TOKEN_BAD_CLIENT,  # Apigee's code
    "invalidgrant": kinds.TOKEN_BAD_USER,
    "invalidrequest": kinds.TOKEN_BAD_REQUEST,
    "invalidscope": kinds.TOKEN_BAD_REQUEST,
    "unauthorizedclient": kinds.TOKEN_BAD_REQUEST,  # a known client that may not use the grant
    "unsupportedgranttype": kinds.TOKEN_BAD_REQUEST,
    "servererror": kinds.TOKEN_SERVER,
    "temporarilyunavailable": kinds.TOKEN_SERVER,
}
"""RFC 6749 section 5.2, and two codes of section 4.1.2.1 that token endpoints use too."""

_STATUS_OF_CODE = {
    **dict.fromkeys(("CMN_90000", "CMN_90001"), 500),
    **dict.fromkeys(_THROTTLED, 500),
    _SPENT_AS_500: 401,
}
"""The documented status of an error that arrives with a 2xx; 400 for all other codes."""


def is_throttling(status: int, error: BankError) -> bool:
    """Whether the bank reports an exceeded quota or spike limit, which it does as 429 and 500."""
    words = error.message.lower()
    return (
        status == 429
        or (status >= 400 and (error.code in _THROTTLED or "quota" in words or "spike" in words))
        or (status >= 500 and error.code == _SPENT_AS_500)
    )


def classify(status: int, error: BankError, *, v1: bool = False) -> TokenFailure:
    """Return the kind of a refused token call.

    ``v1``: on the legacy endpoint a 401 or 403 that names neither client nor user means an
    institution that the application may not use; its numeric codes are ambiguous. An error that
    arrives with a 2xx is read with the status that the bank documents for its code.
    """
    if 200 <= status < 300 and error.code:
        status = _STATUS_OF_CODE.get(error.code, 400)
    if is_throttling(status, error):
        return kinds.TOKEN_THROTTLED
    named = _BY_CODE.get(error.code) or (_by_oauth_code(error.code) if status < 500 else None)
    if named is not None:
        return named
    if v1 and status in (401, 403):
        return _refused_as_v1(error.message.lower())
    if status == 401:
        return kinds.TOKEN_BAD_CLIENT
    if status >= 500:
        return kinds.TOKEN_SERVER
    return kinds.TOKEN_BAD_REQUEST if status >= 400 else kinds.TOKEN_MALFORMED


def is_of_token_endpoint(error: BankError, *, has_user: bool) -> bool:
    """Whether a token endpoint of the bank may have refused a call so.

    Not so with a code of a gateway that knows no such path, nor as an invalid token if the call
    had none: ``has_user`` is false for a client's own credentials.
    """
    if error.code == "CMN_90018":
        return has_user
    known = error.code.startswith("CMN_") or error.code.isdigit() or error.code in _THROTTLED
    return known or _by_oauth_code(error.code) is not None


def _by_oauth_code(code: str) -> TokenFailure | None:
    # Apigee writes `invalid_client`, `InvalidClientIdentifier` and `oauth.v2.Invalid…`.
    return _BY_OAUTH_CODE.get(code.rpartition(".")[2].replace("_", "").lower())


def _refused_as_v1(words: str) -> TokenFailure:
    if "client" in words:
        return kinds.TOKEN_BAD_CLIENT
    return kinds.TOKEN_BAD_USER if "user" in words else kinds.TOKEN_BAD_INSTITUTION


CANDIDATES = frozenset({400, 401, 500})
"""Statuses with which the bank refuses tokens on resource calls."""

_REFUSED = frozenset(
    {
        "ACC_00601",
        "TXN_11002",
        "BIS_10002",
        "DSC_11002",
        "ISR_11002",
        "UXU_10003",
        "PRMSYS_10004",
        "CMN_90018",
        "keymanagement.service.access_token_expired",
        "keymanagement.service.invalid_access_token",
    }
)
_NOT_CURED = frozenset(
    {
        "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound",
        "CMN_90004",
        "CMN_90006",
        "CMN_90009",
        "CMN_90015",
    }
)


def refuses_token(status: int, error: BankError) -> bool:
    """Whether a resource response says that the token is invalid and a new one may be accepted.

    A 401 does, unless its code is one that a new token does not change. A 400 or 500 does only with
    certain codes, CMN_90016 only together with its message: these statuses have other causes too.
    """
    if error.code in _NOT_CURED or is_throttling(status, error):
        return False
    if status == 401:
        return not (error.code == "CMN_90001" and "not authorized" in error.message.lower())
    if status not in CANDIDATES:
        return False
    if error.code == "CMN_90016":
        return "token" in error.message.lower()
    return error.code in _REFUSED
