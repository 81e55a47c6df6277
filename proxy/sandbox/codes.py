"""The bank's error codes, their documented statuses, and their three body formats.

A *spelling* names one error: a code, optionally followed by a slash and another status.
``CMN_90002`` is the quota error with its documented status 500, ``CMN_90002/429`` the same as a
429, ``access_token_expired/500`` the Apigee fault that also occurs as a 500.
Source: candescent.md, "Errors on a token call, and on a resource call".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import Literal

from proxy.sandbox.call import Reply, json_reply, xml_reply

ErrorShape = Literal["cmn", "v1", "apigee"]

#: The common codes: code → (status, message).
CMN: dict[str, tuple[int, str]] = {
    "CMN_90000": (500, "Internal server error"),
    "CMN_90001": (500, "Internal server error - Cross Talk"),
    "CMN_90002": (500, "Quota limit violation"),
    "CMN_90003": (500, "Spike limit violation"),
    "CMN_90004": (401, "Invalid client credentials"),
    "CMN_90005": (
        400,
        "Header institutionId is invalid or Form param institution_user_id is invalid",
    ),
    "CMN_90006": (400, "Not authorized to access this resource"),
    "CMN_90007": (400, "Invalid grant type"),
    "CMN_90008": (400, "Header transactionId is invalid"),
    "CMN_90009": (400, "Access blocked"),
    "CMN_90010": (400, "Header is invalid"),
    "CMN_90011": (400, "Request is invalid"),
    "CMN_90012": (400, "Request is invalid - Scopes"),
    "CMN_90013": (400, "Username is invalid"),
    "CMN_90014": (400, "Password is invalid"),
    "CMN_90015": (401, "Invalid user credentials"),
    "CMN_90016": (400, "Invalid user"),
    "CMN_90017": (400, "Request contains non printable ASCII characters"),
    "CMN_90018": (401, "Invalid token"),
    "CMN_90019": (500, "Error creating token"),
    "CMN_90020": (400, "App cannot authorize itself"),
    "CMN_90021": (400, "Invalid client configuration"),
}

#: Codes with which single API families refuse a token.
FAMILIES: dict[str, tuple[int, str]] = {
    "ACC_00601": (401, "Invalid JWT token"),
    "TXN_11002": (401, "Invalid JWT token"),
    "BIS_10002": (401, "Invalid JWT token"),
    "DSC_11002": (401, "Invalid JWT token"),
    "ISR_11002": (401, "Invalid JWT token"),
    "UXU_10003": (400, "JWT token has expired"),
    "PRMSYS_10004": (400, "Invalid JWT token"),
}

#: The numeric codes of the V1 endpoint, each used for several errors.
V1: dict[str, tuple[int, str]] = {
    "90001": (401, "Not authorized"),
    "90002": (400, "Invalid request"),
    "91000": (500, "Quota limit violation"),
    "92000": (500, "Spike limit violation"),
}

_KEYS = "keymanagement.service."
_LIMITS = "policies.ratelimit."

#: The gateway's faults by their full name; the last part is enough as a spelling.
APIGEE: dict[str, tuple[int, str]] = {
    _KEYS + "access_token_expired": (401, "Access Token expired"),
    _KEYS + "invalid_access_token": (401, "Invalid Access Token"),
    _KEYS + "InvalidAPICallAsNoApiProductMatchFound": (
        401,
        "Invalid API call as no apiproduct match found",
    ),
    _LIMITS + "QuotaViolation": (
        429,
        "Rate limit quota violation. Quota limit exceeded. Identifier : _default",
    ),
    _LIMITS + "SpikeArrestViolation": (429, "Spike arrest violation. Allowed rate exceeded"),
    "messaging.adaptors.http.flow.ApplicationNotFound": (
        404,
        "Unable to identify proxy for this path",
    ),
    "messaging.adaptors.http.flow.MethodNotAllowed": (405, "Received an unsupported method"),
}

_V1_NAMESPACE = "http://schema.intuit.com/fs/common/v2"


@dataclass(frozen=True)
class ErrorSpec:
    """One error: its code, message, HTTP status and body format."""

    code: str
    message: str
    status: int
    shape: ErrorShape

    def reply(self) -> Reply:
        """Return the error response."""
        return _SHAPES[self.shape](self).with_outcome(self.code)


def error_spec(
    spelling: str,
    *,
    shape: ErrorShape | None = None,
    status: int | None = None,
    message: str | None = None,
) -> ErrorSpec:
    """Return the error of a spelling, with another shape, status or message if given.

    Raises ``ValueError`` for an unknown spelling.
    """
    code, _, other = spelling.partition("/")
    spec = _find(code)
    if other:
        spec = replace(spec, status=_status(other))
    return replace(
        spec,
        shape=shape or spec.shape,
        status=status or spec.status,
        message=message or spec.message,
    )


def refuse(spelling: str, message: str | None = None) -> Reply:
    """Return the error response of a spelling."""
    return error_spec(spelling, message=message).reply()


def spellings() -> list[str]:
    """Return all codes."""
    return [*CMN, *FAMILIES, *V1, *APIGEE]


def _find(code: str) -> ErrorSpec:
    for table, shape in _TABLES:
        for name, (status, message) in table.items():
            if code in (name, name.rpartition(".")[2]):
                return ErrorSpec(name, message, status, shape)
    raise ValueError(f"unknown error code {code!r}; known are {', '.join(spellings())}")


def _status(text: str) -> int:
    if text.isdecimal() and 200 <= int(text) <= 599:
        return int(text)
    raise ValueError(f"{text!r} is not a status between 200 and 599")


def _cmn(error: ErrorSpec) -> Reply:
    return json_reply({"code": error.code, "message": error.message}, error.status)


def _v1(error: ErrorSpec) -> Reply:
    kind = "USER_ERROR" if error.status < 500 else "SYSTEM_ERROR"
    code, text = escape(error.code.rpartition("_")[2]), escape(error.message)
    return xml_reply(
        f'<Status xmlns="{_V1_NAMESPACE}"><statusMessage>{text}</statusMessage><errorInfo>'
        f"<errorType>{kind}</errorType><errorCode>{code}</errorCode>"
        f"<errorMessage>{text}</errorMessage></errorInfo></Status>",
        error.status,
    )


def _apigee(error: ErrorSpec) -> Reply:
    fault = {"faultstring": error.message, "detail": {"errorcode": error.code}}
    return json_reply({"fault": fault}, error.status)


_TABLES: tuple[tuple[dict[str, tuple[int, str]], ErrorShape], ...] = (
    (CMN, "cmn"),
    (FAMILIES, "cmn"),
    (V1, "v1"),
    (APIGEE, "apigee"),
)
_SHAPES = {"cmn": _cmn, "v1": _v1, "apigee": _apigee}
