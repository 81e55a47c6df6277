"""``certificate``: its certificates serve real clients and can be renewed at run time."""

import asyncio
import re
import ssl
from pathlib import Path

import pytest

from proxy.sandbox import Sandbox
from tests.cli.commands.inside import Inside
from tests.support.process import process
from tests.support.running import until


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return path.stat().st_mode & 0o777


async def test_files_and_next_steps(tmp_path: Path, inside: Inside) -> None:
    """Keys are private, and the next steps are printed."""
    folder = tmp_path / "tls"
    code, out, err = await inside.run("certificate", "Desk.example", "--folder", folder)
    assert (code, err) == (0, "")
    modes = {path.name: mode(path) for path in folder.iterdir()}
    assert modes == {"authority.pem": 0o644, "authority.key": 0o600, "server.pem": 0o600}
    assert mode(folder) == 0o700
    assert "for localhost, 127.0.0.1, ::1, desk.example, valid until" in out
    assert f"callers:\n    certificate_file: {folder}/server.pem" in out
    for system in ("Debian", "Fedora", "macOS", "Windows", "Java", "Node.js", "Python", "curl"):
        assert re.search(rf"^  {system}.* ", out, re.MULTILINE)
    assert "PRIVATE KEY" not in out


async def test_real_clients_accept_it(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Curl and strict Python connect; clients without the authority fail."""
    folder = tmp_path / "tls"
    await inside.run("certificate", "--folder", folder)
    tls = {"certificate_file": str(folder / "server.pem")}
    async with process(tmp_path / "x.yaml", bank.url, callers=tls) as running:
        port = running.listen.rpartition(":")[2]
        for host in ("localhost", "127.0.0.1"):
            assert await curl(host, port, "--cacert", str(folder / "authority.pem")) == (0, "200")
        assert (await curl("localhost", port))[0] == 60  # a certificate of an unknown authority
        context = strict(folder / "authority.pem")
        assert (await shown_certificate(port, context))["notAfter"]
        with pytest.raises(ssl.SSLCertVerificationError):
            await shown_certificate(port, ssl.create_default_context())


async def curl(host: str, port: str, *flags: str) -> tuple[int, str]:
    """Call the proxy with curl; return its exit code, and the status that it got."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", *flags),
        f"https://{host}:{port}/v1/accounts",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


def strict(authority: Path) -> ssl.SSLContext:
    """Return a context that enforces RFC 5280, as Python 3.13 does by default."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    return context


async def shown_certificate(port: str, context: ssl.SSLContext) -> dict[str, object]:
    """Return the certificate of the proxy."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", int(port), ssl=context, server_hostname="localhost"
    )
    found: dict[str, object] = writer.get_extra_info("peercert")
    writer.transport.abort()
    return found


async def test_renewed_certificate_is_reloaded(
    bank: Sandbox, tmp_path: Path, inside: Inside
) -> None:
    """Without a restart."""
    folder = tmp_path / "tls"
    await inside.run("certificate", "--folder", folder)
    authority = (folder / "authority.pem").read_bytes()
    tls = {"certificate_file": str(folder / "server.pem")}
    async with process(
        tmp_path / "x.yaml", bank.url, callers=tls, reload_interval="0.05"
    ) as running:
        port, context = running.listen.rpartition(":")[2], strict(folder / "authority.pem")
        before = (await shown_certificate(port, context))["serialNumber"]
        code, out, _ = await inside.run(
            "certificate", "app.localhost", "--renew", "--folder", folder
        )
        assert code == 0
        assert "for localhost, 127.0.0.1, ::1, app.localhost" in out
        assert (folder / "authority.pem").read_bytes() == authority
        await until(lambda: list(running.program.events("configuration reloaded")))
        assert (await shown_certificate(port, context))["serialNumber"] != before


async def test_existing_files_are_kept(tmp_path: Path, inside: Inside) -> None:
    """A new authority is made on request only, and the old one is backed up."""
    await inside.run("certificate", "--folder", tmp_path)
    old = (tmp_path / "authority.key").read_bytes()
    code, _, err = await inside.run("certificate", "--folder", tmp_path)
    assert code == 1
    assert "exists already; --renew" in err
    assert (tmp_path / "authority.key").read_bytes() == old
    assert (await inside.run("certificate", "--folder", tmp_path, "--force"))[0] == 0
    assert (tmp_path / "authority.key").read_bytes() != old
    assert (tmp_path / "authority.key.1").read_bytes() == old
    assert mode(tmp_path / "authority.key.1") == 0o600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--renew",), "authority.pem: No such file or directory"),
        (("a b",), "neither a host name nor an address"),
        (("--days", "398"), "--days: expected 1 to 397"),
        (("--days", "0"), "--days: expected 1 to 397"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_invalid_arguments_write_nothing(
    tmp_path: Path, inside: Inside, arguments: tuple[str, ...], message: str
) -> None:
    """One line and exit code 1."""
    folder = tmp_path / "tls"
    code, out, err = await inside.run("certificate", *arguments, "--folder", folder)
    assert (code, out) == (1, "")
    assert message in err
    assert not folder.exists()


async def test_renewal_for_another_name_is_refused(tmp_path: Path, inside: Inside) -> None:
    """The authority is limited to its names; the old certificate stays."""
    await inside.run("certificate", "--folder", tmp_path)
    old = (tmp_path / "server.pem").read_bytes()
    code, _, err = await inside.run("certificate", "b.example", "--renew", "--folder", tmp_path)
    assert code == 1
    assert "b.example: the authority was not made for this name" in err
    assert (tmp_path / "server.pem").read_bytes() == old
