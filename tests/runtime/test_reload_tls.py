"""Reload of certificates: the bank's authority, the client certificate, and the listener's."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import Sandbox
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture
from tests.support.running import CLIENT, DEADLINE, until

EVERY_LOOP = True


@pytest.fixture(scope="module")
def authorities(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[OpensslAuthority, OpensslAuthority]:
    """The current authority and the next."""
    folder = tmp_path_factory.mktemp("authorities")
    return OpensslAuthority.make(folder, "today"), OpensslAuthority.make(folder, "tomorrow")


@pytest.fixture(scope="module")
def today(authorities: tuple[OpensslAuthority, OpensslAuthority]) -> OpensslAuthority:
    """The current authority."""
    return authorities[0]


@pytest.fixture(scope="module")
def tomorrow(authorities: tuple[OpensslAuthority, OpensslAuthority]) -> OpensslAuthority:
    """The next authority."""
    return authorities[1]


@pytest.fixture(scope="module")
def certificates(authorities: tuple[OpensslAuthority, OpensslAuthority]) -> Mapping[str, Path]:
    """A server and a client certificate of each authority."""
    return {
        f"{authority.name} {name}": authority.issue(
            f"{name} of {authority.name}", "IP:127.0.0.1", file=f"{name}-{authority.name}"
        )
        for authority in authorities
        for name in ("server", "client")
    }


def bank_context(certificate: Path, client_ca: OpensslAuthority | None = None) -> ssl.SSLContext:
    """Return the bank's TLS context; with ``client_ca`` it requires a certificate."""
    context = server_context(certificate)
    if client_ca is not None:
        context.load_verify_locations(client_ca.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def secure_bank(context: ssl.SSLContext) -> AsyncIterator[Sandbox]:
    """Run a bank with TLS."""
    bank = Sandbox()
    await bank.start(ssl_context=context)
    try:
        yield bank
    finally:
        await bank.stop()


async def restart(bank: Sandbox, context: ssl.SSLContext) -> None:
    """Restart the bank on its port with other certificates."""
    port = int(bank.url.rpartition(":")[2])
    await bank.stop()
    await bank.start(port=port, ssl_context=context)


@asynccontextmanager
async def proxy_with_files(
    tmp_path: Path, section: str, bank: Sandbox | None = None, **files: Path
) -> AsyncIterator[ProxyFixture]:
    """Run a proxy with these files as settings of ``section``."""
    secret = tmp_path / "client_secret"
    secret.write_text(CLIENT["client_secret"])
    settings: dict[str, Any] = {section: {name: str(file) for name, file in files.items()}}
    async with proxy_fixture(
        tmp_path / "proxy.yaml", bank, client_secret_file=str(secret), **settings
    ) as fixture:
        yield fixture


async def test_authority_of_the_bank_rotates(
    tmp_path: Path,
    today: OpensslAuthority,
    tomorrow: OpensslAuthority,
    certificates: Mapping[str, Path],
) -> None:
    """A CA file that the bank does not match yet is refused, and later applied."""
    trusted = tmp_path / "ca.pem"
    shutil.copy(today.file, trusted)
    async with (
        secure_bank(bank_context(certificates["today server"])) as bank,
        proxy_with_files(tmp_path, "upstream", bank, ca_file=trusted) as fixture,
    ):
        assert await fixture.call() == 200
        shutil.copy(tomorrow.file, trusted)
        await fixture.wait_for_failed_reload()
        assert "is not trusted" in fixture.warnings()[0]
        assert await fixture.call() == 200
        await restart(bank, bank_context(certificates["tomorrow server"]))
        trusted.touch()
        await fixture.wait_for_reload()
        assert await fixture.call() == 200
        assert fixture.warnings() == []


async def test_client_certificate_rotates(
    tmp_path: Path,
    today: OpensslAuthority,
    tomorrow: OpensslAuthority,
    certificates: Mapping[str, Path],
) -> None:
    """New connections use the new certificate, unless the bank refuses it."""
    ours = tmp_path / "ours.pem"
    shutil.copy(certificates["today client"], ours)
    server = certificates["today server"]
    async with (
        secure_bank(bank_context(server, today)) as bank,
        proxy_with_files(
            tmp_path, "upstream", bank, ca_file=today.file, certificate_file=ours
        ) as fixture,
    ):
        assert await fixture.call() == 200
        shutil.copy(certificates["tomorrow client"], ours)
        await fixture.wait_for_failed_reload()
        assert await fixture.call() == 200
        await restart(bank, bank_context(server, tomorrow))
        ours.touch()
        await fixture.wait_for_reload()
        assert await fixture.call() == 200


async def test_certificate_without_its_key_is_refused(
    tmp_path: Path, today: OpensslAuthority, certificates: Mapping[str, Path]
) -> None:
    """Such a pair exists between two writes; nothing changes."""
    ours, key = tmp_path / "ours.pem", tmp_path / "key.pem"
    shutil.copy(certificates["today client"], ours)
    shutil.copy(certificates["today client"].with_suffix(".key"), key)
    async with (
        secure_bank(bank_context(certificates["today server"], today)) as bank,
        proxy_with_files(
            tmp_path, "upstream", bank, ca_file=today.file, certificate_file=ours, key_file=key
        ) as fixture,
    ):
        assert await fixture.call() == 200
        shutil.copy(certificates["tomorrow client"].with_suffix(".key"), key)
        await fixture.wait_for_failed_reload()
        assert "upstream.certificate_file" in fixture.warnings()[0]
        assert await fixture.call() == 200
        shutil.copy(certificates["today client"].with_suffix(".key"), key)
        await fixture.wait_for_reload()
        assert await fixture.call() == 200


# The listening port.


def trusting(authority: OpensslAuthority, certificate: Path | None = None) -> ssl.SSLContext:
    """Return a caller's TLS context."""
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


async def shown_name(fixture: ProxyFixture, context: ssl.SSLContext) -> str:
    """Return the common name of the port's certificate on a new connection."""
    address = fixture.app.data_address
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        response = await reader.read()
        if not response.startswith(b"HTTP/1.1 200"):
            raise ConnectionError("closed without an answer")
        certificate = writer.get_extra_info("peercert")
        return str(dict(pair[0] for pair in certificate["subject"])["commonName"])
    finally:
        writer.close()


async def test_certificate_of_the_port_rotates(
    tmp_path: Path,
    today: OpensslAuthority,
    tomorrow: OpensslAuthority,
    certificates: Mapping[str, Path],
) -> None:
    """New connections get the new certificate, old ones stay, and none fails."""
    ours = tmp_path / "port.pem"
    shutil.copy(certificates["today server"], ours)
    both = trusting(today)
    both.load_verify_locations(tomorrow.file)
    async with proxy_with_files(tmp_path, "callers", certificate_file=ours) as fixture:
        assert await shown_name(fixture, both) == "server of today"
        address = f"https://{fixture.app.data_address}/echo"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=both)) as caller:
            for round_ in range(1, 6):
                async with caller.get(address) as response:
                    assert response.status == 200
                when = ("tomorrow", "today")[round_ % 2 == 0]
                shutil.copy(certificates[f"{when} server"], ours)
                calls = [asyncio.create_task(shown_name(fixture, both)) for _ in range(20)]
                await fixture.wait_for_reload(round_)
                assert await shown_name(fixture, both) == f"server of {when}"
                assert {*(await asyncio.gather(*calls))} <= {
                    "server of today",
                    "server of tomorrow",
                }
        assert fixture.app.connection_count <= 1


async def test_bad_certificate_of_the_port_is_refused(
    tmp_path: Path, today: OpensslAuthority, certificates: Mapping[str, Path]
) -> None:
    """New connections still get the old certificate."""
    ours, key = tmp_path / "port.pem", tmp_path / "port.key"
    shutil.copy(certificates["today server"], ours)
    shutil.copy(certificates["today server"].with_suffix(".key"), key)
    async with proxy_with_files(
        tmp_path, "callers", certificate_file=ours, key_file=key
    ) as fixture:
        shutil.copy(certificates["tomorrow server"], ours)
        await fixture.wait_for_failed_reload()
        assert "callers.certificate_file" in fixture.warnings()[0]
        assert await shown_name(fixture, trusting(today)) == "server of today"


async def test_removed_client_authority_is_refused(
    tmp_path: Path,
    today: OpensslAuthority,
    tomorrow: OpensslAuthority,
    certificates: Mapping[str, Path],
) -> None:
    """After a change of client_ca_file, certificates of the old authority fail."""
    trusted = tmp_path / "clients.pem"
    shutil.copy(today.file, trusted)
    before = trusting(today, certificates["today client"])
    after = trusting(today, certificates["tomorrow client"])
    async with proxy_with_files(
        tmp_path, "callers", certificate_file=certificates["today server"], client_ca_file=trusted
    ) as fixture:
        assert await shown_name(fixture, before) == "server of today"
        with pytest.raises(OSError, match=r"(?i)alert|reset|closed"):
            await shown_name(fixture, after)
        shutil.copy(tomorrow.file, trusted)
        await fixture.wait_for_reload()
        assert await shown_name(fixture, after) == "server of today"
        with pytest.raises(OSError, match=r"(?i)alert|reset|closed"):
            await shown_name(fixture, before)


async def test_endless_handshake_is_closed(
    tmp_path: Path, certificates: Mapping[str, Path]
) -> None:
    """A silent client is closed at the header timeout."""
    secret = tmp_path / "client_secret"
    secret.write_text(CLIENT["client_secret"])
    async with proxy_fixture(
        tmp_path / "proxy.yaml",
        client_secret_file=str(secret),
        callers={"certificate_file": str(certificates["today server"])},
        limits={"header_timeout": "0.2"},
    ) as fixture:
        address = fixture.app.data_address
        reader, writer = await asyncio.open_connection(address.host, address.port)
        assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
        writer.close()
        await until(lambda: fixture.app.connection_count == 0)
