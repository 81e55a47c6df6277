"""The way to the bank, step by step: its name, a connection, TLS, an answer, and its clock.

No credential goes along: only ``HEAD`` of the base path is asked for.
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

from proxy.cli.doctor.files import day
from proxy.cli.doctor.machine import unverified
from proxy.cli.doctor.results import Finding, ill, well
from proxy.errors import UpstreamError, UpstreamFailure
from proxy.upstream.bank_client import USER_AGENT
from proxy.upstream.pool import Origin
from proxy.upstream.tunnel import open_tunnel

TOLERANCE = 60.0
"""Seconds by which two clocks may differ; the bank's is read to the second only."""

_STATUS = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9][ \r]")
_DATE = re.compile(rb"(?i)\r\ndate: *([^\r\n]+)\r\n")
_TLS_ALERT = b"\x15\x03"
_CLIENT_CERTIFICATE = re.compile("CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_U")

_TUNNEL = {
    UpstreamFailure.PROXY_RESOLVE: "proxy-name",
    UpstreamFailure.PROXY_CONNECT: "proxy-connect",
    UpstreamFailure.PROXY_LOGIN: "proxy-login",
    UpstreamFailure.PROXY_REFUSED: "proxy-refused",
    UpstreamFailure.PROXY_TIMEOUT: "proxy-timeout",
}


class _StuckError(Exception):
    """A step did not succeed, so none comes after it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Way:
    """Where the bank is, and how one gets there. ``patience`` is in seconds, for each step.

    ``environ`` is asked for an HTTP proxy that the configuration does not name; ``wall`` is this
    machine's clock.
    """

    origin: Origin
    path: str
    environ: Mapping[str, str]
    wall: Callable[[], float]
    patience: float

    @property
    def _where(self) -> dict[str, object]:
        origin = self.origin
        proxy = f"{origin.proxy.host}:{origin.proxy.port}" if origin.proxy else ""
        return {
            "host": origin.host,
            "port": origin.port,
            "proxy": proxy,
            "seconds": f"{self.patience:g}",
        }

    async def findings(self) -> AsyncIterator[Finding]:
        """Go it, and say how each step went."""
        try:
            sock = await self._connected()
            yield well("connection", "{host}:{port} takes connections.".format(**self._where))
            reader, writer = await self._secured(sock, self.origin.tls)
            if self.origin.tls is not None:
                yield well("tls", f"The certificate is good for {self.origin.host}.")
            try:
                head = await self._answer(reader, writer)
            finally:
                writer.transport.abort()
            for finding in clock(head, self.wall()):
                yield finding
        except _StuckError as stuck:
            yield stuck.finding

    def _stuck(self, check: str, cause: str, **more: object) -> _StuckError:
        return _StuckError(ill(check, cause, **self._where, **more))

    async def _connected(self) -> socket.socket:
        loop, origin = asyncio.get_running_loop(), self.origin
        if origin.proxy is not None:
            try:
                deadline = loop.time() + self.patience
                return await open_tunnel(origin.proxy, origin.host, origin.port, deadline)
            except UpstreamError as error:
                cause = _TUNNEL.get(error.reason, "proxy-strange")
                raise self._stuck("outbound proxy", cause, why=error.detail) from error
        try:
            found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._not_connected(error) from error
        failure = OSError("no address")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                async with asyncio.timeout(self.patience):
                    await loop.sock_connect(sock, address)
            except OSError as error:  # TimeoutError is one
                sock.close()
                failure = error
            else:
                return sock
        raise self._not_connected(failure) from failure

    def _not_connected(self, failure: OSError) -> _StuckError:
        for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            if (proxy := shown_proxy(self.environ.get(variable, ""))) and self.origin.tls:
                shown = self._where | {"variable": variable, "proxy": proxy}
                return _StuckError(ill("connection", "proxy-unset", **shown))
        if isinstance(failure, socket.gaierror):
            return self._stuck("name", "name", why=failure.strerror or failure)
        if isinstance(failure, ConnectionRefusedError):
            return self._stuck("connection", "connect-refused")
        if isinstance(failure, TimeoutError):
            return self._stuck("connection", "connect-timeout")
        return self._stuck("connection", "connect-unreachable", why=failure.strerror or failure)

    async def _secured(self, sock: socket.socket, tls: ssl.SSLContext | None) -> Streams:
        name = self.origin.host if tls is not None else None
        try:
            async with asyncio.timeout(self.patience):
                return await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            raise await self._certificate_refused(error) from error
        except ssl.SSLError as error:
            raise self._no_tls(error) from error
        except TimeoutError as error:
            raise self._stuck("tls", "answer-slow") from error
        except OSError as error:
            raise self._stuck("tls", "answer-none") from error

    def _no_tls(self, error: ssl.SSLError) -> _StuckError:
        why = (error.reason or "unknown").lower().replace("_", " ")
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            return self._stuck("tls", "tls-plain")
        if _CLIENT_CERTIFICATE.search(error.reason or ""):
            return self._stuck("tls", "tls-certificate-wanted")
        return self._stuck("tls", "tls-failed", why=why)

    async def _certificate_refused(self, error: ssl.SSLCertVerificationError) -> _StuckError:
        cause = _CERTIFICATES.get(error.verify_code, "tls-untrusted")
        shown: dict[str, object] = {"why": error.verify_message}
        if cause in ("tls-expired", "tls-early", "tls-name"):
            now = datetime.fromtimestamp(self.wall(), UTC)
            shown |= {"now": now.strftime("%Y-%m-%d %H:%M UTC"), **await self._shown_certificate()}
        return self._stuck("tls", cause, **shown)

    async def _shown_certificate(self) -> dict[str, object]:
        """Return names and dates of the certificate that is shown, whoever vouches for it."""
        from cryptography import x509  # noqa: PLC0415 - only to say more of a bad certificate

        sock = await self._connected()
        _, writer = await self._secured(sock, unverified())
        raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        certificate = x509.load_der_x509_certificate(raw)
        names: list[str] = []
        with suppress(x509.ExtensionNotFound):
            shown = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names = [str(name.value) for name in shown.value]
        return {
            "names": ", ".join(names) or "no name at all",
            "since": day(certificate.not_valid_before_utc.timestamp()),
            "until": day(certificate.not_valid_after_utc.timestamp()),
        }

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Return the head of the answer."""
        writer.write(
            b"HEAD %b/ HTTP/1.1\r\nHost: %b\r\nUser-Agent: %b\r\nConnection: close\r\n\r\n"
            % (self.path.encode("ascii"), self.origin.host_header, USER_AGENT.encode("ascii"))
        )
        head = b""
        try:
            async with asyncio.timeout(self.patience):
                while b"\r\n\r\n" not in head and len(head) < 65_536:
                    block = await reader.read(4096)
                    head += block
                    if not block:
                        break
        except TimeoutError as error:
            raise self._stuck("answer", "answer-slow") from error
        except ssl.SSLError as error:
            raise self._no_tls(error) from error
        except OSError as error:
            raise await self._no_answer(head) from error
        if not _STATUS.match(head):
            raise await self._no_answer(head)
        if self._is_misled(head) and await self._speaks_tls():
            raise self._stuck("tls", "plain-tls")
        return head

    def _is_misled(self, head: bytes) -> bool:
        """Whether this looks like what nginx and others say to HTTP on a TLS port."""
        return self.origin.tls is None and head[9:12] in (b"400", b"497")

    async def _no_answer(self, head: bytes) -> _StuckError:
        if self.origin.tls is None and (head[:2] == _TLS_ALERT or await self._speaks_tls()):
            return self._stuck("tls", "plain-tls")
        if self.origin.tls is not None and not head:
            await self._hear_out(self.origin.tls)
        return self._stuck("answer", "answer-strange" if head else "answer-none")

    async def _hear_out(self, tls: ssl.SSLContext) -> None:
        """Connect once more and say nothing, for TLS's own last word. Raises what it means.

        Whoever refuses a client's certificate says so after the handshake, and where a request
        has come meanwhile, the word may be lost with the connection.
        """
        reader, writer = await self._secured(await self._connected(), tls)
        try:
            async with asyncio.timeout(self.patience):
                _ = await reader.read(1)
        except ssl.SSLError as error:
            raise self._no_tls(error) from error
        except OSError:  # TimeoutError is one
            pass
        finally:
            writer.transport.abort()

    async def _speaks_tls(self) -> bool:
        try:
            _, writer = await self._secured(await self._connected(), unverified())
        except _StuckError:
            return False
        writer.transport.abort()
        return True


_CERTIFICATES = {
    9: "tls-early",
    10: "tls-expired",
    18: "tls-self-signed",
    62: "tls-name",
    64: "tls-name",
}
"""By OpenSSL's X509_V_ERR codes; all others mean that nobody vouches for the certificate."""


def shown_proxy(text: str) -> str:
    """Return a proxy's URL out of the environment without the user and password in it."""
    with suppress(ValueError):
        url = urlsplit(text)
        if url.hostname:
            return f"http://{url.hostname}:{url.port or 80}"
    return ""


def clock(head: bytes, now: float) -> list[Finding]:
    """Compare the ``Date`` in the head of an answer with ``now``, in Unix seconds."""
    found = _DATE.search(head)
    try:
        date = parsedate_to_datetime(found[1].decode("latin-1")) if found else None
    except ValueError:
        date = None
    if date is None:
        return []
    difference = now - date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    if abs(difference) <= TOLERANCE:
        return [well("clock", "This machine's clock is the bank's.")]
    way = "ahead of" if difference > 0 else "behind"
    return [ill("clock", "clock", seconds=f"{abs(difference):.0f}", way=way)]
