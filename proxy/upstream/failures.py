"""What a failed connection means: one mapping for requests, token calls and the doctor."""

import errno
import socket
import ssl
from collections.abc import Iterator

import aiohttp

from proxy.errors import ProxyError, TokenError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.tls import explain_tls

_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def is_out_of_files(error: BaseException) -> bool:
    """Whether this process or machine may open no more files."""
    return isinstance(error, OSError) and error.errno in _OUT_OF_FILES


def connect_error(error: BaseException) -> ProxyError:
    """Return the error of a request for which no connection could be made."""
    if is_out_of_files(error):
        return ProxyError(kinds.OUT_OF_FILES)
    if isinstance(error, TimeoutError):
        return UpstreamError(kinds.UPSTREAM_CONNECT_TIMEOUT)
    return UpstreamError(*explain(error))


def call_error(error: BaseException) -> TokenError:
    """Return the error of one of the proxy's own calls to the bank."""
    if isinstance(error, TimeoutError):
        return TokenError(kinds.TOKEN_TIMEOUT)
    if isinstance(error, UpstreamError):
        failure, detail = error.reason, error.detail
    elif isinstance(error, aiohttp.ClientConnectionError | OSError):
        failure, detail = explain(error)
    elif isinstance(error, ProxyError):  # no more files
        return TokenError(kinds.TOKEN_UNREACHABLE, error.detail)
    else:
        return TokenError(kinds.TOKEN_MALFORMED, "The bank's response is not HTTP.")
    return TokenError(
        kinds.TOKEN_UNREACHABLE, f"{kinds.TOKEN_UNREACHABLE.cause} {detail}", failure=failure
    )


def explain(error: BaseException) -> tuple[UpstreamFailure, str]:
    """Return the kind of a failed connection to the bank, and a sentence that explains it."""
    kind = kinds.UPSTREAM_CONNECT
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return explain_tls(cause)
        if isinstance(cause, socket.gaierror):
            kind = kinds.UPSTREAM_RESOLVE
        elif _is_unreachable(cause):
            kind = kinds.UPSTREAM_UNREACHABLE
    return kind, kind.cause


def _is_unreachable(error: BaseException) -> bool:
    if isinstance(error, ConnectionRefusedError):
        return False
    return isinstance(error, ConnectionError | aiohttp.ServerDisconnectedError) or (
        isinstance(error, OSError) and error.errno in _NO_ROUTE
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    # aiohttp wraps what ended the exchange, as the cause.
    while error is not None:
        yield error
        error = error.__cause__
