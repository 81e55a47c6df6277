"""A real proxy that inspects TLS, as company firewalls do: mitmproxy."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.errors import kinds
from proxy.sandbox import Sandbox
from tests.support import needs
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.outbound_proxies import free_port, listening_program
from tests.support.raw_client import GET, ask, request
from tests.support.running import running


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """Run a bank with TLS, whose authority is in ``bank.pem``."""
    authority = OpensslAuthority.make(tmp_path, "bank")
    sandbox = Sandbox()
    await sandbox.start(ssl_context=server_context(authority.issue("bank", "IP:127.0.0.1")))
    yield sandbox
    await sandbox.stop()


@asynccontextmanager
async def mitmproxy(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """Run mitmproxy, which trusts the bank; return its URL and its authority."""
    program, port = needs.program("mitmdump"), free_port()
    options = {
        "confdir": folder / "mitmproxy",
        "ssl_verify_upstream_trusted_ca": folder / "bank.pem",
        "connection_strategy": "lazy",
    }
    settings = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    command = (program, "--quiet", "--listen-host", "127.0.0.1", "--listen-port", str(port))
    async with listening_program(port, *command, *settings):
        yield f"http://127.0.0.1:{port}", folder / "mitmproxy" / "mitmproxy-ca-cert.pem"


async def test_inspected_traffic_passes(bank: Sandbox, tmp_path: Path) -> None:
    """With the firewall's authority, token calls and requests pass, and bodies unchanged."""
    async with mitmproxy(tmp_path) as (url, authority):
        upstream = {"proxy": url, "ca_file": str(authority)}
        async with running(bank, upstream=upstream) as app:
            assert (await ask(app, GET)).status == 200
            body = b"0123456789" * 30_000
            response = await ask(app, request("POST", "/echo", body=body))
            digest = hashlib.sha256(body).hexdigest()
            assert response.json()["body"] == {"bytes": len(body), "sha256": digest}
            response = await ask(app, request("GET", "/download?bytes=3000000"))
            assert (response.status, len(response.body)) == (200, 3_000_000)


async def test_unknown_authority_is_explained(bank: Sandbox, tmp_path: Path) -> None:
    """Without it, the reason names the setting that helps."""
    async with mitmproxy(tmp_path) as (url, _):
        upstream = {"proxy": url, "ca_file": str(tmp_path / "bank.pem")}
        async with running(bank, ready=False, upstream=upstream) as app:
            response = await ask(app, GET)
    assert response.status == 503
    assert response.json()["remedy"] == kinds.UPSTREAM_TLS_UNTRUSTED.remedy
    assert "upstream.ca_file" in response.json()["remedy"]
