"""Causes of failed connections: requests and token calls report the same cause."""

import _ssl
import asyncio
import ctypes
import datetime
import errno
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.errors import ProxyError, TokenError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.failures import connect_error
from proxy.upstream.pool import Pool
from proxy.upstream.tls import CERTIFICATE_FAILURES, client_context
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.dialing import bank_client, make_pool

EVERY_LOOP = True

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
GET = b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n"


def sign(
    authority: OpensslAuthority,
    *,
    begins: datetime.datetime = NOW - DAY,
    is_small: bool = False,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> Path:
    """Make a certificate for 127.0.0.1 and its key with properties that openssl cannot set."""
    small = rsa.generate_private_key(65537, 1024) if is_small else None  # noqa: S505 - too small
    key = small or ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.file.read_bytes())
    issuer_key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bank")])
    address = (
        x509.DNSName("127.0.0.1"),
        x509.IPAddress(ip_address("127.0.0.1")),
    )
    certificate = (
        x509.CertificateBuilder(issuer.subject, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + 3 * DAY)
        .add_extension(x509.SubjectAlternativeName(address), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = authority.folder / f"{certificate.serial_number}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem)
    return path


@contextmanager
def openssl_server(context: ssl.SSLContext) -> Iterator[int]:
    """Run a server with OpenSSL's own handshake, which sends the alerts that asyncio drops."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            raw, _ = listener.accept()
        except OSError:
            return
        raw.settimeout(10)
        with raw, suppress(OSError):
            tls = context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
            with tls:
                try:
                    tls.do_handshake()
                    tls.recv(1)
                except ssl.SSLError:
                    # Closing with unread bytes would reset the connection and could lose the alert.
                    tls.shutdown(socket.SHUT_WR)
                    while socket.socket.recv(tls, 4096):
                        pass


@dataclass(frozen=True)
class Case:
    """A server that must not get a request, and the expected kind of failure."""

    server: Callable[[OpensslAuthority], ssl.SSLContext]
    kind: UpstreamFailure


def old_versions(authority: OpensslAuthority) -> ssl.SSLContext:
    """Return the context of a server limited to TLS 1.1."""
    context = server_context(authority.issue("bank", "IP:127.0.0.1"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def requiring_certificate(version: ssl.TLSVersion) -> Callable[[OpensslAuthority], ssl.SSLContext]:
    """Return what makes the context of a server that requires a client certificate."""

    def make(authority: OpensslAuthority) -> ssl.SSLContext:
        context = server_context(authority.issue("bank", "IP:127.0.0.1"))
        context.maximum_version = version
        context.load_verify_locations(authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    return make


def unknown_authority(authority: OpensslAuthority) -> ssl.SSLContext:
    """Return the context of a server with an unknown authority."""
    return server_context(
        OpensslAuthority.make(authority.folder, "stranger").issue("x", "IP:127.0.0.1")
    )


def self_signed(authority: OpensslAuthority) -> ssl.SSLContext:
    """Return the context of a server with a self-signed certificate."""
    own = OpensslAuthority.make(authority.folder, "own")
    both = authority.folder / "both.pem"
    both.write_bytes(own.file.read_bytes() + own.key.read_bytes())
    return server_context(both)


def small_key(authority: OpensslAuthority) -> ssl.SSLContext:
    """Return the context of a server with a key of 1024 bits."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(sign(authority, is_small=True))
    return context


CASES = {
    "expired": Case(
        lambda ca: server_context(sign(ca, begins=NOW - 5 * DAY)), kinds.UPSTREAM_TLS_EXPIRED
    ),
    "not yet valid": Case(
        lambda ca: server_context(sign(ca, begins=NOW + DAY)), kinds.UPSTREAM_TLS_NOT_YET_VALID
    ),
    "another name": Case(
        lambda ca: server_context(ca.issue("bank", "DNS:elsewhere.test")), kinds.UPSTREAM_TLS_NAME
    ),
    "unknown authority": Case(unknown_authority, kinds.UPSTREAM_TLS_UNTRUSTED),
    "self-signed": Case(self_signed, kinds.UPSTREAM_TLS_SELF_SIGNED),
    "a client's certificate": Case(
        lambda ca: server_context(sign(ca, usage=ExtendedKeyUsageOID.CLIENT_AUTH)),
        kinds.UPSTREAM_TLS_UNSUITABLE,
    ),
    "small key": Case(small_key, kinds.UPSTREAM_TLS_UNSUITABLE),
    "TLS 1.1 only": Case(old_versions, kinds.UPSTREAM_TLS_VERSION),
    "client certificate, TLS 1.3": Case(
        requiring_certificate(ssl.TLSVersion.TLSv1_3), kinds.UPSTREAM_TLS_CLIENT_CERTIFICATE
    ),
}


async def request_error(port: int, context: ssl.SSLContext | None) -> ProxyError:
    """Return the error of a request."""
    pool = make_pool("127.0.0.1", port, context, connect_timeout=10)
    with pytest.raises(ProxyError) as caught:
        await ask(pool)
    pool.close()
    return caught.value


async def ask(pool: Pool) -> None:
    """Send a request and wait for the head of a response."""
    connection = await pool.connect()
    try:
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
    finally:
        pool.release(connection)


async def token_error(port: int, context: ssl.SSLContext | None) -> TokenError:
    """Return the error of one of the proxy's own calls."""
    scheme = "https" if context else "http"
    bank = bank_client(f"{scheme}://127.0.0.1:{port}", timeout=10, tls=context)
    with pytest.raises(TokenError) as caught:
        await bank.call("GET", "/", {})
    await bank.close()
    return caught.value


async def check(port: int, context: ssl.SSLContext | None, kind: UpstreamFailure) -> None:
    """Check that a request and a token call fail with this kind."""
    error = await request_error(port, context)
    assert isinstance(error, UpstreamError)
    assert error.kind is kind
    called = await token_error(port, context)
    assert called.kind is kinds.TOKEN_UNREACHABLE
    assert called.explained_by is kind
    assert kind.cause.rstrip(".") in called.detail


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_tls_failure_has_its_cause(case: Case, tmp_path: Path) -> None:
    """Requests and token calls report the same cause."""
    authority = OpensslAuthority.make(tmp_path)
    with openssl_server(case.server(authority)) as port:
        await check(port, client_context(authority.file), case.kind)


async def test_plain_http_on_a_tls_port(tmp_path: Path) -> None:
    """An HTTP response to a ``ClientHello`` is not reported as a certificate error."""

    async def respond_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    authority = OpensslAuthority.make(tmp_path)
    server = await asyncio.start_server(respond_plainly, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await check(port, client_context(authority.file), kinds.UPSTREAM_TLS_PLAIN_HTTP)


async def test_closed_port_is_refused() -> None:
    """A closed port refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    await check(port, None, kinds.UPSTREAM_CONNECT)


@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_no_route(number: int) -> None:
    """Network errors are distinguished from a closed port."""
    assert connect_error(OSError(number, "No")).kind is kinds.UPSTREAM_UNREACHABLE


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_file_limit_is_an_error_of_the_proxy(number: int) -> None:
    """A limit of this machine is not the bank's error."""
    assert connect_error(OSError(number, "No")).kind is kinds.OUT_OF_FILES


def test_codes_are_those_of_openssl() -> None:
    """OpenSSL's text for each number matches the map."""
    library = ctypes.CDLL(_ssl.__file__)
    describe = library.X509_verify_cert_error_string
    describe.restype, describe.argtypes = ctypes.c_char_p, [ctypes.c_long]
    words = {
        kinds.UPSTREAM_TLS_NOT_YET_VALID: "not yet valid",
        kinds.UPSTREAM_TLS_EXPIRED: "expired",
        kinds.UPSTREAM_TLS_SELF_SIGNED: "self-signed|self signed",
        kinds.UPSTREAM_TLS_NAME: "mismatch",
        kinds.UPSTREAM_TLS_REVOKED: "CRL|revoked",
    }
    for code, kind in CERTIFICATE_FAILURES.items():
        text = describe(code).decode()
        assert any(word in text for word in words.get(kind, "").split("|")), (code, text)
