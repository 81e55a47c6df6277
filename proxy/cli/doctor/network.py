"""Checks of the network, step by step: DNS, TCP, TLS, an HTTP response, and the clock.

No credentials are sent: the only request is a ``HEAD`` of the base path.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

from proxy.cli.doctor import remedies
from proxy.cli.doctor.files import day
from proxy.cli.doctor.machine import unverified
from proxy.cli.doctor.remedies import Remedy
from proxy.cli.doctor.results import CheckResult, info, ok, problem
from proxy.errors import ProxyError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.bank_client import USER_AGENT
from proxy.upstream.dialer import ConnectError, Dialer, UpstreamOrigin
from proxy.upstream.events import AddressFailed, UpstreamEvent, UpstreamEventSink, ignore
from proxy.upstream.proxy_environment import parse_proxy_url, proxy_variable
from proxy.upstream.resolver import Resolver
from proxy.upstream.tls import CERTIFICATE_FAILURES, tls_failure, tls_reason
from proxy.upstream.upstream_settings import UpstreamSettings

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
    """Connects to the bank as the proxy does.

    ``settings.connect_timeout`` is the time for each step. ``environ`` may name a proxy
    that is not configured; ``wall`` returns Unix seconds.
    """

    origin: UpstreamOrigin
    settings: UpstreamSettings
    path: str
    environ: Mapping[str, str]
    wall: Callable[[], float]

    @property
    def _where(self) -> dict[str, object]:
        origin = self.origin
        return {
            "host": origin.host,
            "port": origin.port,
            "proxy": origin.proxy or "",
            "seconds": f"{self.settings.connect_timeout:g}",
        }

    async def results(self) -> AsyncIterator[CheckResult]:
        """Yield the result of each step."""
        events: list[UpstreamEvent] = []
        try:
            reader, writer = await self._connect(self.origin.tls, events.append)
        except UpstreamError as error:
            if error.reason in _TLS_KINDS:
                yield self._connected()
            yield await self._connect_failure(error)
            return
        except ProxyError as error:  # no more files
            remedy = remedies.UPSTREAM_UNREACHABLE
            yield self._problem("connection", remedy, tried=f" {error.detail}")
            return
        yield self._connected()
        for result in self._dead_addresses(events):
            yield result
        if (offer := self._unused_proxy()) is not None:
            yield info(
                "outbound proxy",
                f"{offer[0]} names a proxy, and is not used; to use "
                "it, set upstream.proxy: environment.",
            )
        if self.origin.tls is not None:
            yield ok("tls", f"The certificate is valid for {self.origin.host}.")
        try:
            try:
                head = await self._read_head(reader, writer)
            finally:
                writer.transport.abort()
            for result in clock(head, self.wall()):
                yield result
        except _StopError as stop:
            yield stop.result

    def _connected(self) -> CheckResult:
        return ok("connection", "{host}:{port} accepts connections.".format(**self._where))

    def _problem(self, check: str, remedy: Remedy, **more: object) -> CheckResult:
        return problem(check, remedy, **self._where | more)

    def _stop(self, check: str, remedy: Remedy, **more: object) -> _StopError:
        return _StopError(self._problem(check, remedy, **more))

    async def _connect(
        self, tls: ssl.SSLContext | None, emit: UpstreamEventSink = ignore
    ) -> Streams:
        """Connect as requests do. Raises ``ProxyError``."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        dialer = Dialer(replace(self.origin, tls=tls), self.settings, Resolver(), emit)
        protocol = await dialer.connect(lambda: _Stream(reader, loop=loop))
        return reader, asyncio.StreamWriter(protocol.transport, protocol, reader, loop)

    def _dead_addresses(self, events: list[UpstreamEvent]) -> Iterator[CheckResult]:
        for event in events:
            if isinstance(event, AddressFailed):
                remedy = remedies.ADDRESS_FAILED
                reason = event.reason.value.replace("_", " ")
                where = {"host": event.host, "address": event.address, "used": event.used}
                yield self._problem("connection", remedy, why=reason, **where)

    def _unused_proxy(self) -> tuple[str, str] | None:
        """Return the variable that names a proxy that would serve, and its URL to be shown."""
        origin = self.origin
        if origin.proxy is not None or self.settings.proxy is not None:
            return None
        is_https = origin.tls is not None
        found = proxy_variable(self.environ, origin.host, origin.port, https=is_https)
        with suppress(ValueError):
            return None if found is None else (found[0], str(parse_proxy_url(found[1])))
        return None

    async def _connect_failure(self, error: UpstreamError) -> CheckResult:
        kind = error.reason
        tried = error.tried if isinstance(error, ConnectError) else ""
        values = {"why": error.detail, "tried": f" {tried}" if tried else ""}
        if kind in _TLS_KINDS:
            return await self._tls_failure(error.__cause__, kind, values)
        if (offer := self._unused_proxy()) is not None:
            found = {"variable": offer[0], "offered": offer[1]}
            return self._problem("connection", remedies.PROXY_UNSET, **values, **found)
        check = "outbound proxy" if self.origin.proxy else "connection"
        if kind in (kinds.UPSTREAM_RESOLVE, kinds.UPSTREAM_RESOLVE_TIMEOUT):
            check = "name"
        return self._problem(check, remedies.BY_KIND[kind], **values)

    async def _tls_failure(
        self, error: BaseException | None, kind: UpstreamFailure, values: dict[str, str]
    ) -> CheckResult:
        if isinstance(error, ssl.SSLError):
            values["why"] = tls_reason(error)
        if isinstance(error, ssl.SSLCertVerificationError):
            values["now"] = datetime.fromtimestamp(self.wall(), UTC).strftime("%Y-%m-%d %H:%M UTC")
            values |= dict.fromkeys(("names", "since", "until"), "unknown")
            with suppress(ProxyError, ValueError):  # another server answers, or cannot be read
                values |= await self._peer_certificate()
        return self._problem("tls", remedies.BY_KIND[kind], **values)

    def _stop_for_tls(self, error: ssl.SSLError) -> _StopError:
        return self._stop("tls", remedies.BY_KIND[tls_failure(error)], why=tls_reason(error))

    async def _peer_certificate(self) -> dict[str, str]:
        """Return names and dates of the server's certificate, without verifying it."""
        from cryptography import x509  # noqa: PLC0415 - only to say more of a bad certificate

        _, writer = await self._connect(unverified())
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
            async with asyncio.timeout(self.settings.connect_timeout):
                while b"\r\n\r\n" not in head and len(head) < 65_536:
                    block = await reader.read(4096)
                    head += block
                    if not block:
                        break
        except TimeoutError as error:
            raise self._stop("answer", remedies.UPSTREAM_FIRST_BYTE_TIMEOUT) from error
        except ssl.SSLError as error:
            raise self._stop_for_tls(error) from error
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
        try:
            reader, writer = await self._connect(tls)
        except ProxyError:
            return  # without an alert, as it accepted a connection before
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                _ = await reader.read(1)
        except ssl.SSLError as error:
            raise self._stop_for_tls(error) from error
        except OSError:  # TimeoutError is one
            pass
        finally:
            writer.transport.abort()

    async def _speaks_tls(self) -> bool:
        try:
            _, writer = await self._connect(unverified())
        except ProxyError:
            return False
        writer.transport.abort()
        return True


class _Stream(asyncio.StreamReaderProtocol):
    """Keeps its transport, which a writer is made from."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        super().connection_made(transport)


_TLS_KINDS = {
    *CERTIFICATE_FAILURES.values(),
    kinds.UPSTREAM_TLS,
    kinds.UPSTREAM_TLS_CLIENT_CERTIFICATE,
    kinds.UPSTREAM_TLS_PLAIN_HTTP,
    kinds.UPSTREAM_TLS_TIMEOUT,
    kinds.UPSTREAM_TLS_UNTRUSTED,
    kinds.UPSTREAM_TLS_VERSION,
}
"""Failures behind an open connection."""


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
        return [ok("clock", "The clock is in sync with the bank.")]
    direction = "ahead of" if difference > 0 else "behind"
    return [problem("clock", remedies.CLOCK, seconds=f"{abs(difference):.0f}", direction=direction)]
