"""What can go wrong, and the one mapping from an error to the response a caller reads.

Library exceptions become one of these where they enter the program; nothing else decides a
status. Four families, by whose error it is, which is also what ``x-proxy-error-source`` says:

    CallerError    the request in front of us cannot be forwarded as it is      400, 403, 405, …
    TokenError     there is no usable token                                     503
    UpstreamError  the bank's side did not answer, or not with HTTP             502, 504
    ProxyError     we ourselves cannot take the work (the base class)           500, 503
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from math import ceil

TYPE_PREFIX = "urn:candescent-proxy:error:"


class Source(StrEnum):
    """Whose error an answer is; ``NONE`` for an answer of the bank's, whatever its status."""

    NONE = "none"
    CALLER = "caller"
    TOKEN = "token"  # noqa: S105 - the word, not a secret
    UPSTREAM = "upstream"
    PROXY = "proxy"


class ProxyError(Exception):
    """An error that has an answer for the caller.

    ``name`` is the stable last part of the problem's ``type``; ``detail`` is a sentence for a
    person and never carries what a caller or the bank sent; ``retry_after`` is in seconds.
    """

    source = Source.PROXY

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        status: int = 503,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.status = status
        self.retry_after = retry_after


class CallerError(ProxyError):
    """A request that is ours to refuse (400, 403, 405, 407, 408, 413, 414, 431, 501, 505)."""

    source = Source.CALLER

    def __init__(self, status: int, name: str, detail: str) -> None:
        super().__init__(name, detail, status=status)


class TokenFailure(StrEnum):
    """Why the bank gave no token; also the ``reason`` label of the failure metric."""

    BAD_CLIENT = "bad_client"
    BAD_INSTITUTION = "bad_institution"
    BAD_USER = "bad_user"
    BAD_REQUEST = "bad_request"
    THROTTLED = "throttled"
    SERVER = "server"
    MALFORMED = "malformed"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    INTERNAL = "internal"

    @property
    def is_refusal(self) -> bool:
        """Whether asking again with the same credentials would be refused again."""
        return self in _REFUSALS


_REFUSALS = frozenset(
    {
        TokenFailure.BAD_CLIENT,
        TokenFailure.BAD_INSTITUTION,
        TokenFailure.BAD_USER,
        TokenFailure.BAD_REQUEST,
    }
)


class TokenError(ProxyError):
    """No token could be had. Never a 401 to the caller: its request was not at fault.

    ``code`` is the bank's own error code (``CMN_90004``) where it gave one.
    """

    source = Source.TOKEN

    def __init__(
        self,
        reason: TokenFailure,
        detail: str,
        *,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"token-{reason.value.replace('_', '-')}", detail, retry_after=retry_after)
        self.reason = reason
        self.code = code

    def with_retry_after(self, seconds: float) -> "TokenError":
        """Return the same error for another caller, who should wait ``seconds``."""
        return TokenError(self.reason, self.detail, code=self.code, retry_after=seconds)


class UpstreamFailure(StrEnum):
    """How the exchange with the bank failed; also the ``reason`` label of its metric."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    PROXY_RESOLVE = "proxy_resolve"
    PROXY_CONNECT = "proxy_connect"
    PROXY_LOGIN = "proxy_login"
    PROXY_REFUSED = "proxy_refused"
    PROXY_MALFORMED = "proxy_malformed"
    PROXY_TIMEOUT = "proxy_timeout"
    TLS = "tls"
    TLS_EXPIRED = "tls_expired"
    TLS_NAME = "tls_name"
    TLS_UNTRUSTED = "tls_untrusted"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CLOSED = "closed"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"

    @property
    def is_timeout(self) -> bool:
        """Whether the caller reads 504 rather than 502."""
        return self.value.endswith("_timeout")


class UpstreamError(ProxyError):
    """The exchange with the bank failed: 504 when it was slow, 502 otherwise.

    ``is_before_response`` is true when a reused connection closed before a single byte of the
    response, which is what an upstream does that had just given the idle connection up.
    """

    source = Source.UPSTREAM

    def __init__(
        self, reason: UpstreamFailure, detail: str, *, is_before_response: bool = False
    ) -> None:
        super().__init__(
            f"upstream-{reason.value.replace('_', '-')}",
            detail,
            status=504 if reason.is_timeout else 502,
        )
        self.reason = reason
        self.is_before_response = is_before_response


class ConfigError(Exception):
    """A configuration that cannot be run: every mistake in it, each with its path."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class ProblemResponse:
    """An error as the caller reads it (RFC 9457 ``application/problem+json``)."""

    status: int
    source: Source
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def problem_response(error: ProxyError, transaction_id: str) -> ProblemResponse:
    """Turn any error into the one response for it.

    ``transaction_id`` is the request's, so that the answer can be found in the log.
    """
    document = {
        "type": TYPE_PREFIX + error.name,
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail,
        "transactionId": transaction_id,
    }
    if isinstance(error, TokenError) and error.code is not None:
        document["code"] = error.code
    headers = [
        (b"Content-Type", b"application/problem+json"),
        (b"x-proxy-error-source", error.source.value.encode()),
        (b"Cache-Control", b"no-store"),
    ]
    if error.retry_after is not None:
        headers.append((b"Retry-After", b"%d" % max(1, ceil(error.retry_after))))
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    if error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        headers.append((b"Proxy-Authenticate", b'Basic realm="candescent-proxy"'))
    body = json.dumps(document, indent=2).encode() + b"\n"
    return ProblemResponse(error.status, error.source, body, tuple(headers))


def internal_error(_error: BaseException) -> ProxyError:
    """Return the answer to a mistake of our own; its text stays in the log, never in a body."""
    return ProxyError("internal", "The proxy failed on this request; its log says why.", status=500)
