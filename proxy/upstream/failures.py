"""Maps failed connections to errors, for requests, token calls and the doctor."""

import errno
import socket
import ssl
from collections.abc import Iterator

import aiohttp

from proxy.errors import ProxyError, TokenError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.tls import explain_tls

_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def connect_error(error: BaseException) -> ProxyError:
    """Return the error of a request for which no connection could be opened."""
    if isinstance(error, OSError) and error.errno in _OUT_OF_FILES:
        return ProxyError(kinds.OUT_OF_FILES)
    if isinstance(error, TimeoutError):
        return UpstreamError(kinds.UPSTREAM_CONNECT_TIMEOUT)
    return UpstreamError(*explain(error))


def call_error(error: BaseException) -> TokenError:
    """Return the error of one of the proxy's own calls to the bank."""
    if isinstance(error, TimeoutError):
        return TokenError(kinds.TOKEN_TIMEOUT)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        failure, detail = _refused_by_proxy(error.status)
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        failure, detail = _no_proxy(error.os_error)
    elif isinstance(error, aiohttp.ClientConnectionError | OSError):
        failure, detail = explain(error)
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


def _refused_by_proxy(status: int) -> tuple[UpstreamFailure, str]:
    if status == 407:
        return kinds.UPSTREAM_PROXY_LOGIN, kinds.UPSTREAM_PROXY_LOGIN.cause
    kind = kinds.UPSTREAM_PROXY_REFUSED
    return kind, f"{kind.cause.removesuffix('.')} ({status})."


def _no_proxy(error: OSError) -> tuple[UpstreamFailure, str]:
    is_name = isinstance(error, socket.gaierror)
    kind = kinds.UPSTREAM_PROXY_RESOLVE if is_name else kinds.UPSTREAM_PROXY_CONNECT
    return kind, kind.cause


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    # aiohttp wraps the socket's exception, as an attribute or as the cause. Its certificate error
    # is a SSLCertVerificationError as well, but without a code, so the wrapped one is used.
    if error is None:
        return
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        yield error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        yield error.os_error
    else:
        yield error
        yield from _causes(error.__cause__)
