"""Certificates that change under a running proxy: the bank's authority, ours, and the port's."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

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
    """The authority of today, and that of tomorrow."""
    folder = tmp_path_factory.mktemp("authorities")
    return OpensslAuthority.make(folder, "today"), OpensslAuthority.make(folder, "tomorrow")


@pytest.fixture(scope="module")
def today(authorities: tuple[OpensslAuthority, OpensslAuthority]) -> OpensslAuthority:
    """The authority of today."""
    return authorities[0]


@pytest.fixture(scope="module")
def tomorrow(authorities: tuple[OpensslAuthority, OpensslAuthority]) -> OpensslAuthority:
    """The authority of tomorrow."""
    return authorities[1]


@pytest.fixture(scope="module")
def certificates(authorities: tuple[OpensslAuthority, OpensslAuthority]) -> Mapping[str, Path]:
    """A certificate of each authority for the servers, and one for a client."""
    return {
        f"{authority.name} {name}": authority.issue(
            f"{name} of {authority.name}", "IP:127.0.0.1", file=f"{name}-{authority.name}"
        )
        for authority in authorities
        for name in ("server", "client")
    }


def bank_context(certificate: Path, client_ca: OpensslAuthority | None = None) -> ssl.SSLContext:
    """What the bank speaks TLS with; with an authority it wants to see a certificate too."""
    context = server_context(certificate)
    if client_ca is not None:
        context.load_verify_locations(client_ca.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def secure_bank(context: ssl.SSLContext) -> AsyncIterator[Sandbox]:
    """A bank that speaks TLS."""
    bank = Sandbox()
    await bank.start(ssl_context=context)
    try:
        yield bank
    finally:
        await bank.stop()


async def restart(bank: Sandbox, context: ssl.SSLContext) -> None:
    """Let the bank come back on its port with other certificates."""
    port = int(bank.url.rpartition(":")[2])
    await bank.stop()
    await bank.start(port=port, ssl_context=context)


@asynccontextmanager
async def tls_house(tmp_path: Path, bank: Sandbox, **upstream: Path) -> AsyncIterator[ProxyFixture]:
    """A proxy in front of a bank that speaks TLS."""
    secret = tmp_path / "client_secret"
    secret.write_text(CLIENT["client_secret"])
    files = {name: str(file) for name, file in upstream.items()}
    async with proxy_fixture(
        tmp_path / "proxy.yaml", bank, client_secret_file=str(secret), upstream=files
    ) as fixture:
        yield fixture


async def test_authority_of_the_bank_rotates(
    tmp_path: Path,
    today: OpensslAuthority,
    tomorrow: OpensslAuthority,
    certificates: Mapping[str, Path],
) -> None:
    """A CA file that the bank does not match yet is refused; once the bank has changed, taken."""
    trusted = tmp_path / "ca.pem"
    shutil.copy(today.file, trusted)
    async with (
        secure_bank(bank_context(certificates["today server"])) as bank,
        tls_house(tmp_path, bank, ca_file=trusted) as fixture,
    ):
        assert await fixture.call() == 200
        shutil.copy(tomorrow.file, trusted)
        await fixture.wait_for_failed_reload()
        assert "certificate is not trusted" in fixture.warnings()[0]
        assert await fixture.call() == 200
        await restart(bank, bank_context(certificates["tomorrow server"]))
        trusted.touch()
        await fixture.wait_for_reload()
        assert await fixture.call() == 200
        assert fixture.warnings() == []


async def test_our_certificate_rotates(
    tmp_path: Path,
    today: OpensslAuthority,
    tomorrow: OpensslAuthority,
    certificates: Mapping[str, Path],
) -> None:
    """A new client certificate is what new connections show; one that the bank refuses is not."""
    ours = tmp_path / "ours.pem"
    shutil.copy(certificates["today client"], ours)
    server = certificates["today server"]
    async with (
        secure_bank(bank_context(server, today)) as bank,
        tls_house(tmp_path, bank, ca_file=today.file, certificate_file=ours) as fixture,
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
    """Certificate and key that do not belong together, as between two writes, change nothing."""
    ours, key = tmp_path / "ours.pem", tmp_path / "key.pem"
    shutil.copy(certificates["today client"], ours)
    shutil.copy(certificates["today client"].with_suffix(".key"), key)
    async with (
        secure_bank(bank_context(certificates["today server"], today)) as bank,
        tls_house(
            tmp_path, bank, ca_file=today.file, certificate_file=ours, key_file=key
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


# The port that callers reach.


@asynccontextmanager
async def port_house(tmp_path: Path, **callers: Path) -> AsyncIterator[ProxyFixture]:
    """A proxy whose port speaks TLS with these files."""
    secret = tmp_path / "client_secret"
    secret.write_text(CLIENT["client_secret"])
    files = {name: str(file) for name, file in callers.items()}
    async with proxy_fixture(
        tmp_path / "proxy.yaml", client_secret_file=str(secret), callers=files
    ) as fixture:
        yield fixture


def trusting(authority: OpensslAuthority, certificate: Path | None = None) -> ssl.SSLContext:
    """What a caller speaks TLS with."""
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


async def shown(fixture: ProxyFixture, context: ssl.SSLContext) -> str:
    """Return the common name of what the port shows on a new connection, over a request."""
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
    """New connections see the new certificate; those of before go on, and none is turned away."""
    ours = tmp_path / "port.pem"
    shutil.copy(certificates["today server"], ours)
    both = trusting(today)
    both.load_verify_locations(tomorrow.file)
    async with port_house(tmp_path, certificate_file=ours) as fixture:
        assert await shown(fixture, both) == "server of today"
        address = f"https://{fixture.app.data_address}/echo"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=both)) as caller:
            for round_ in range(1, 6):
                async with caller.get(address) as response:
                    assert response.status == 200
                when = ("tomorrow", "today")[round_ % 2 == 0]
                shutil.copy(certificates[f"{when} server"], ours)
                calls = [asyncio.create_task(shown(fixture, both)) for _ in range(20)]
                await fixture.wait_for_reload(round_)
                assert await shown(fixture, both) == f"server of {when}"
                assert {*(await asyncio.gather(*calls))} <= {
                    "server of today",
                    "server of tomorrow",
                }
        assert fixture.app.connection_count <= 1


async def test_bad_certificate_of_the_port_changes_nothing(
    tmp_path: Path, today: OpensslAuthority, certificates: Mapping[str, Path]
) -> None:
    """A certificate without its key is refused, and new connections see the old one as ever."""
    ours, key = tmp_path / "port.pem", tmp_path / "port.key"
    shutil.copy(certificates["today server"], ours)
    shutil.copy(certificates["today server"].with_suffix(".key"), key)
    async with port_house(tmp_path, certificate_file=ours, key_file=key) as fixture:
        shutil.copy(certificates["tomorrow server"], ours)
        await fixture.wait_for_failed_reload()
        assert "callers.certificate_file" in fixture.warnings()[0]
        assert await shown(fixture, trusting(today)) == "server of today"


async def test_authority_that_is_taken_away_is_trusted_no_more(
    tmp_path: Path,
    today: OpensslAuthority,
    tomorrow: OpensslAuthority,
    certificates: Mapping[str, Path],
) -> None:
    """After a change of client_ca_file, callers of the former authority are turned away."""
    trusted = tmp_path / "clients.pem"
    shutil.copy(today.file, trusted)
    before = trusting(today, certificates["today client"])
    after = trusting(today, certificates["tomorrow client"])
    async with port_house(
        tmp_path, certificate_file=certificates["today server"], client_ca_file=trusted
    ) as fixture:
        assert await shown(fixture, before) == "server of today"
        with pytest.raises(OSError, match=r"(?i)alert|reset|closed"):
            await shown(fixture, after)
        shutil.copy(tomorrow.file, trusted)
        await fixture.wait_for_reload()
        assert await shown(fixture, after) == "server of today"
        with pytest.raises(OSError, match=r"(?i)alert|reset|closed"):
            await shown(fixture, before)


async def test_callers_are_let_go_in_a_handshake_that_never_ends(
    tmp_path: Path, certificates: Mapping[str, Path]
) -> None:
    """Whoever connects to a TLS port and says nothing is cut off when a head would be."""
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
