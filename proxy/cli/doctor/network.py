"""Checks of the network, step by step: DNS, TCP, TLS, an HTTP response, and the clock.

No credentials are sent: the only request is a ``HEAD`` of the base path.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from proxy.cli.doctor import remedies
from proxy.cli.doctor.files import day
from proxy.cli.doctor.machine import unverified
from proxy.cli.doctor.remedies import Remedy
from proxy.cli.doctor.results import CheckResult, ok, problem
from proxy.errors import UpstreamError
from proxy.upstream.bank_client import USER_AGENT
from proxy.upstream.pool import UpstreamOrigin
from proxy.upstream.tls import tls_failure, tls_reason
from proxy.upstream.tunnel import open_tunnel

TOLERANCE = 60.0
"""Seconds by which the clocks may differ; ``Date`` has a resolution of one second."""

_STATUS = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9][ \r]")
_DATE = re.compile(rb"(?i)\r\ndate: *+([^\r\n]++)\r\n")
_TLS_ALERT = b"\x15\x03"


class _StopError(Exception):
    """A step failed, so no further one is tried."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(result.text)
        self.result = result


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class NetworkCheck:
    """Connects to the bank as the proxy does. ``timeout`` is in seconds, for each step.

    ``environ`` may name an HTTP proxy that is not configured; ``wall`` returns Unix seconds.
    """

    origin: UpstreamOrigin
    path: str
    environ: Mapping[str, str]
    wall: Callable[[], float]
    timeout: float

    @property
    def _where(self) -> dict[str, object]:
        origin = self.origin
        proxy = f"{origin.proxy.host}:{origin.proxy.port}" if origin.proxy else ""
        return {
            "host": origin.host,
            "port": origin.port,
            "proxy": proxy,
            "seconds": f"{self.timeout:g}",
        }

    async def results(self) -> AsyncIterator[CheckResult]:
        """Yield the result of each step."""
        try:
            sock = await self._connect()
            yield ok("connection", "{host}:{port} accepts connections.".format(**self._where))
            reader, writer = await self._start_tls(sock, self.origin.tls)
            if self.origin.tls is not None:
                yield ok("tls", f"The certificate is valid for {self.origin.host}.")
            try:
                head = await self._read_head(reader, writer)
            finally:
                writer.transport.abort()
            for result in clock(head, self.wall()):
                yield result
        except _StopError as stop:
            yield stop.result

    def _stop(self, check: str, remedy: Remedy, **more: object) -> _StopError:
        return _StopError(problem(check, remedy, **self._where, **more))

    async def _connect(self) -> socket.socket:
        loop, origin = asyncio.get_running_loop(), self.origin
        if origin.proxy is not None:
            try:
                deadline = loop.time() + self.timeout
                return await open_tunnel(origin.proxy, origin.host, origin.port, deadline)
            except UpstreamError as error:
                remedy = remedies.BY_KIND[error.reason]
                raise self._stop("outbound proxy", remedy, why=error.detail) from error
        try:
            addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._connect_failure(error) from error
        failure = OSError("no address")
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                async with asyncio.timeout(self.timeout):
                    await loop.sock_connect(sock, address)
            except OSError as error:  # TimeoutError is one
                sock.close()
                failure = error
            else:
                return sock
        raise self._connect_failure(failure) from failure

    def _connect_failure(self, failure: OSError) -> _StopError:
        for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            if (proxy := shown_proxy(self.environ.get(variable, ""))) and self.origin.tls:
                values = self._where | {"variable": variable, "proxy": proxy}
                return _StopError(problem("connection", remedies.PROXY_UNSET, **values))
        if isinstance(failure, socket.gaierror):
            return self._stop("name", remedies.UPSTREAM_RESOLVE, why=failure.strerror or failure)
        if isinstance(failure, ConnectionRefusedError):
            return self._stop("connection", remedies.UPSTREAM_CONNECT)
        if isinstance(failure, TimeoutError):
            return self._stop("connection", remedies.UPSTREAM_CONNECT_TIMEOUT)
        return self._stop(
            "connection", remedies.UPSTREAM_UNREACHABLE, why=failure.strerror or failure
        )

    async def _start_tls(self, sock: socket.socket, tls: ssl.SSLContext | None) -> Streams:
        name = self.origin.host if tls is not None else None
        try:
            async with asyncio.timeout(self.timeout):
                return await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            raise await self._certificate_refused(error) from error
        except ssl.SSLError as error:
            raise self._tls_failure(error) from error
        except TimeoutError as error:
            raise self._stop("tls", remedies.UPSTREAM_FIRST_BYTE_TIMEOUT) from error
        except OSError as error:
            raise self._stop("tls", remedies.UPSTREAM_CLOSED) from error

    def _tls_failure(self, error: ssl.SSLError) -> _StopError:
        remedy = remedies.BY_KIND[tls_failure(error)]
        return self._stop("tls", remedy, why=tls_reason(error))

    async def _certificate_refused(self, error: ssl.SSLCertVerificationError) -> _StopError:
        now = datetime.fromtimestamp(self.wall(), UTC).strftime("%Y-%m-%d %H:%M UTC")
        values = {"why": tls_reason(error), "now": now, **await self._peer_certificate()}
        return self._stop("tls", remedies.BY_KIND[tls_failure(error)], **values)

    async def _peer_certificate(self) -> dict[str, object]:
        """Return names and dates of the server's certificate, without verifying it."""
        from cryptography import x509  # noqa: PLC0415 - only to say more of a bad certificate

        sock = await self._connect()
        _, writer = await self._start_tls(sock, unverified())
        raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        certificate = x509.load_der_x509_certificate(raw)
        names: list[str] = []
        with suppress(x509.ExtensionNotFound):
            names_extension = certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            )
            names = [str(name.value) for name in names_extension.value]
        return {
            "names": ", ".join(names) or "no name at all",
            "since": day(certificate.not_valid_before_utc.timestamp()),
            "until": day(certificate.not_valid_after_utc.timestamp()),
        }

    async def _read_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Send a request and return the head of the response."""
        writer.write(
            b"HEAD %b/ HTTP/1.1\r\nHost: %b\r\nUser-Agent: %b\r\nConnection: close\r\n\r\n"
            % (self.path.encode("ascii"), self.origin.host_header, USER_AGENT.encode("ascii"))
        )
        head = b""
        try:
            async with asyncio.timeout(self.timeout):
                while b"\r\n\r\n" not in head and len(head) < 65_536:
                    block = await reader.read(4096)
                    head += block
                    if not block:
                        break
        except TimeoutError as error:
            raise self._stop("answer", remedies.UPSTREAM_FIRST_BYTE_TIMEOUT) from error
        except ssl.SSLError as error:
            raise self._tls_failure(error) from error
        except OSError as error:
            raise await self._response_failure(head) from error
        if not _STATUS.match(head):
            raise await self._response_failure(head)
        if self._is_plain_http_error(head) and await self._speaks_tls():
            raise self._stop("tls", remedies.PLAIN_TLS)
        return head

    def _is_plain_http_error(self, head: bytes) -> bool:
        """Whether this is a status that nginx and others send for HTTP on a TLS port."""
        return self.origin.tls is None and head[9:12] in (b"400", b"497")

    async def _response_failure(self, head: bytes) -> _StopError:
        if self.origin.tls is None and (head[:2] == _TLS_ALERT or await self._speaks_tls()):
            return self._stop("tls", remedies.PLAIN_TLS)
        if self.origin.tls is not None and not head:
            await self._read_tls_alert(self.origin.tls)
        return self._stop(
            "answer", remedies.UPSTREAM_MALFORMED if head else remedies.UPSTREAM_CLOSED
        )

    async def _read_tls_alert(self, tls: ssl.SSLContext) -> None:
        """Connect again without a request, to read a TLS alert. Raises ``_StopError`` with it.

        A server that refuses a client certificate sends the alert after the handshake (TLS 1.3). If
        a request has arrived meanwhile, the reset connection may lose the alert.
        """
        reader, writer = await self._start_tls(await self._connect(), tls)
        try:
            async with asyncio.timeout(self.timeout):
                _ = await reader.read(1)
        except ssl.SSLError as error:
            raise self._tls_failure(error) from error
        except OSError:  # TimeoutError is one
            pass
        finally:
            writer.transport.abort()

    async def _speaks_tls(self) -> bool:
        try:
            _, writer = await self._start_tls(await self._connect(), unverified())
        except _StopError:
            return False
        writer.transport.abort()
        return True


def shown_proxy(text: str) -> str:
    """Return the URL of a proxy in the environment, without user and password."""
    with suppress(ValueError):
        url = urlsplit(text)
        if url.hostname:
            return f"http://{url.hostname}:{url.port or 80}"
    return ""


def clock(head: bytes, now: float) -> list[CheckResult]:
    """Compare the ``Date`` in the head of a response with ``now``, in Unix seconds."""
    match = _DATE.search(head)
    try:
        date = parsedate_to_datetime(match[1].decode("latin-1")) if match else None
    except ValueError:
        date = None
    if date is None:
        return []
    difference = now - date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    if abs(difference) <= TOLERANCE:
        return [ok("clock", "This machine's clock agrees with the bank's.")]
    direction = "ahead of" if difference > 0 else "behind"
    return [problem("clock", remedies.CLOCK, seconds=f"{abs(difference):.0f}", direction=direction)]
