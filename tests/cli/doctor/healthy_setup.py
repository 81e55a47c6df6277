"""A working set-up, which tests of the doctor break and repair."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from time import time
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.cli.doctor.checks import ConfigSources, run_checks
from proxy.cli.doctor.results import CheckResult
from proxy.sandbox import Sandbox
from tests.support.mounted_files import write


@dataclass
class DoctorSetup:
    """A configuration file with ``settings``, its secret file, and a bank.

    ``clock_offset`` is the error of this machine's clock in seconds; ``sample`` is the sample call.
    """

    folder: Path
    bank: Sandbox
    stack: AsyncExitStack
    settings: dict[str, Any]
    environ: dict[str, str] = field(default_factory=dict)
    clock_offset: float = 0.0
    sample: str = "/v1/accounts"

    @property
    def file(self) -> Path:
        """Return the configuration file."""
        return self.folder / "proxy.yaml"

    @property
    def secret(self) -> Path:
        """Return the file with the client's secret."""
        return self.folder / "client-secret"

    def set(self, **settings: Any) -> None:
        """Change settings in the configuration file; None removes one."""
        changed = self.settings | settings
        self.settings = {name: value for name, value in changed.items() if value is not None}
        write(self.file, yaml.safe_dump(self.settings))
        self.file.chmod(0o644)

    def use_short_timeouts(self) -> None:
        """Use timeouts of a second until ``use_default_timeouts``."""
        self.set(token={"timeout": "1"})

    def use_default_timeouts(self) -> None:
        """Use the default timeouts, so that a busy machine causes no timeout."""
        self.set(token=None)

    def write_secret(self, content: str | bytes = "sandbox-secret\n") -> Path:
        """Write the secret file."""
        write(self.secret, content)
        self.secret.chmod(0o600)
        return self.secret

    def private(self, name: str, content: str) -> str:
        """Write another secret file; return its path."""
        write(self.folder / name, content)
        (self.folder / name).chmod(0o600)
        return str(self.folder / name)

    async def run_checks(self) -> list[CheckResult]:
        """Return all results of the doctor."""
        sources = ConfigSources(self.file, self.environ)
        found = run_checks(sources, sample=self.sample, wall=lambda: time() + self.clock_offset)
        return [finding async for finding in found]

    async def https(self, certificate: Path, context: ssl.SSLContext | None = None) -> int:
        """Restart the bank with TLS; return its port."""
        await self.bank.stop()
        await self.bank.start(ssl_context=context or server_context(certificate))
        return int(self.bank.url.rpartition(":")[2])

    def run_fix(self, fix: str) -> None:
        """Run the command that a cure names."""
        subprocess.run(fix.split(), check=True)


@asynccontextmanager
async def doctor_setup(folder: Path) -> AsyncIterator[DoctorSetup]:
    """Start a bank, and write a working configuration for it."""
    async with Sandbox() as bank, AsyncExitStack() as stack:
        made = DoctorSetup(folder, bank, stack, {})
        made.write_secret()
        made.set(
            base_url=bank.url,
            institution_id="00016",
            client_id="sandbox-client",
            client_secret_file=str(made.secret),
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
        )
        yield made


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return a context for a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def certificate(
    file: Path, *names: str, since: float = -1, until: float = 1, issuer: Path | None = None
) -> Path:
    """Make a certificate with its key in one PEM file, valid between days relative to now.

    Without ``issuer`` it is a self-signed authority.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, file.stem)])
    signer, signed_by = key, name
    if issuer is not None:
        pem = issuer.read_bytes()
        loaded = serialization.load_pem_private_key(pem, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer, signed_by = loaded, x509.load_pem_x509_certificate(pem).subject
    now = datetime.now(UTC)
    listed = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=since))
        .not_valid_after(now + timedelta(days=until))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    if issuer is None:  # Python 3.13 verifies strictly (RFC 5280)
        builder = builder.add_extension(_SIGNS, critical=True)
    if listed:
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    made = builder.sign(signer, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    shape, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write(file, made.public_bytes(encoding) + key.private_bytes(encoding, shape, none))
    file.chmod(0o600)
    return file


async def serve_bytes(response: bytes, stack: AsyncExitStack, *, hold: bool = False) -> int:
    """Listen and send the same bytes on each connection, none with ``hold``; return the port."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if hold:
            while await reader.read(4096):
                pass
        else:
            writer.write(response)
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    stack.callback(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


def refusing(context: ssl.SSLContext, stack: AsyncExitStack, *later: ssl.SSLContext) -> int:
    """Listen, and fail handshakes with a TLS alert, which asyncio does not send.

    A successful handshake is followed by no response. Each connection uses the next context, all
    further ones the last. Returns the port.
    """
    contexts = [context, *later]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                present = contexts.pop(0) if len(contexts) > 1 else contexts[0]
                with suppress(OSError), present.wrap_socket(sock, server_side=True) as secured:
                    secured.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    stack.callback(thread.join)
    stack.callback(listener.close)
    stack.callback(listener.shutdown, socket.SHUT_RDWR)
    port: int = listener.getsockname()[1]
    return port
