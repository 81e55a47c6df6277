"""Errors: the exceptions, and the mapping from an error to the caller's response.

``kinds`` is the catalogue. Code raises an exception with a kind from it:

    CallerError    the request cannot be forwarded as it is          400, 403, 405, …
    TokenError     there is no usable token                          503
    UpstreamError  the exchange with the bank failed                 502, 504
    ProxyError     the proxy itself cannot take the work (base)      500, 503

Exceptions of libraries become one of these where they enter the program. Nothing compares an
error's name; a decision compares kinds by identity or reads their fields.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil

from proxy.errors import kinds
from proxy.errors.kinds import ErrorKind, Source, TokenFailure, UpstreamFailure

__all__ = [
    "CallerError",
    "ConfigError",
    "ErrorKind",
    "ProblemResponse",
    "ProxyError",
    "Source",
    "TokenError",
    "TokenFailure",
    "UpstreamError",
    "UpstreamFailure",
    "kinds",
    "problem_response",
]

TYPE_PREFIX = "urn:candescent-proxy:error:"
MAX_GIVEN = 100
"""Bytes of a caller's value that a log line repeats."""


class ProxyError(Exception):
    """An error that has a response for the caller.

    ``detail`` is a sentence, by default the kind's cause; it never contains input of the caller or
    the bank. ``retry_after`` is in seconds, by default the kind's.
    """

    def __init__(
        self, kind: ErrorKind, detail: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(detail or kind.cause)
        self.kind = kind
        self.detail = detail or kind.cause
        self.retry_after = kind.retry_after if retry_after is None else retry_after

    @property
    def explained_by(self) -> ErrorKind:
        """The kind with the exact cause and remedy; only a ``TokenError`` has another one."""
        return self.kind

    @property
    def operator_detail(self) -> str:
        """``detail`` with what only operators may read, for log, status page and probes."""
        return self.detail


class CallerError(ProxyError):
    """The request cannot be forwarded as it is.

    ``given`` is what the caller sent instead, for the operator and never for a response.
    """

    def __init__(
        self,
        kind: ErrorKind,
        detail: str = "",
        *,
        retry_after: float | None = None,
        given: bytes = b"",
    ) -> None:
        super().__init__(kind, detail, retry_after=retry_after)
        self.given = given

    @property
    def operator_detail(self) -> str:
        """``detail`` with what was given, shortened, as printable ASCII."""
        if not self.given:
            return self.detail
        text = self.given[:MAX_GIVEN].decode("ascii", "replace")
        printable = "".join(one if " " <= one <= "~" and one != '"' else "?" for one in text)
        return f'{self.detail} Given: "{printable}".'


class TokenError(ProxyError):
    """There is no usable token. Never a 401 to the caller, whose request is not the cause.

    ``code`` is the bank's error code (``CMN_90004``), if it sent one; ``bank_message`` its cleaned
    message, for the operator and never for callers. ``failure`` says why the token endpoint could
    not be reached. ``is_shared``: another proxy of the fleet met it, and ``retry_after`` is the
    fleet's wait.
    """

    def __init__(
        self,
        reason: TokenFailure,
        detail: str = "",
        *,
        code: str | None = None,
        retry_after: float | None = None,
        failure: UpstreamFailure | None = None,
        bank_message: str = "",
        is_shared: bool = False,
    ) -> None:
        super().__init__(reason, detail, retry_after=retry_after)
        self.reason = reason
        self.is_shared = is_shared
        self.code = code
        self.bank_message = bank_message
        self.failure = failure

    @property
    def explained_by(self) -> ErrorKind:
        """The kind with the exact cause and remedy."""
        return self.failure or self.reason

    def with_retry_after(self, seconds: float) -> "TokenError":
        """Return a copy of the error with another ``retry_after``."""
        return TokenError(
            self.reason,
            self.detail,
            code=self.code,
            retry_after=seconds,
            failure=self.failure,
            bank_message=self.bank_message,
            is_shared=self.is_shared,
        )

    @property
    def operator_detail(self) -> str:
        """``detail`` with the bank's message."""
        return (
            f'{self.detail} Its message: "{self.bank_message}"'
            if self.bank_message
            else (self.detail)
        )


class UpstreamError(ProxyError):
    """The exchange with the bank failed.

    ``is_before_response`` is true when a reused connection closed before a single byte of the
    response, as it does when the upstream closes an idle connection at that moment (RFC 9112
    section 9.3.1). ``is_unsent`` is true when nothing of the request had been sent.
    """

    def __init__(
        self,
        reason: UpstreamFailure,
        detail: str = "",
        *,
        is_before_response: bool = False,
        is_unsent: bool = False,
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.is_before_response = is_before_response
        self.is_unsent = is_unsent


class ConfigError(Exception):
    """An invalid configuration; ``errors`` has one message per error, each with its setting."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class ProblemResponse:
    """An error as the caller reads it (RFC 9457 ``application/problem+json``)."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def problem_response(error: ProxyError, transaction_id: str) -> ProblemResponse:
    """Return the response for an error.

    ``transaction_id`` is the request's, so that the response can be found in the log.
    """
    kind = error.kind
    document = {
        "type": TYPE_PREFIX + kind.name,
        "title": HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "detail": error.detail,
        "remedy": error.explained_by.remedy,
        "transactionId": transaction_id,
    }
    if isinstance(error, TokenError) and error.code is not None:
        document["code"] = error.code
    headers = [
        (b"Content-Type", b"application/problem+json"),
        (b"x-proxy-error-source", kind.source.value.encode()),
        (b"Cache-Control", b"no-store"),
    ]
    if error.retry_after is not None:
        headers.append((b"Retry-After", b"%d" % max(1, ceil(error.retry_after))))
    if kind.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    if kind.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        headers.append((b"Proxy-Authenticate", b'Basic realm="candescent-proxy"'))
    body = json.dumps(document, indent=2).encode() + b"\n"
    return ProblemResponse(kind.status, body, tuple(headers))
