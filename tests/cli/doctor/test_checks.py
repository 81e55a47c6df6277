"""The doctor in broken set-ups: it names the cause, and its remedy works."""

import asyncio
import base64
import inspect
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.cli.doctor.remedies import REMEDIES
from proxy.cli.doctor.results import Level
from proxy.sandbox import Fault, Sandbox
from tests.cli.doctor import (
    broken_bank,
    broken_calls,
    broken_machine,
    broken_network,
    broken_secrets,
    broken_settings,
    broken_store,
)
from tests.cli.doctor.healthy_setup import (
    DoctorSetup,
    certificate,
    doctor_setup,
    refusing,
    serve_bytes,
    server_context,
)
from tests.cli.doctor.setups import SETUPS, Setup
from tests.support.running import running

BROKEN = [
    broken_bank,
    broken_calls,
    broken_machine,
    broken_secrets,
    broken_settings,
    broken_store,
    broken_network,
]
"""Where set-ups stand; each adds its own to ``SETUPS``."""


@pytest.fixture
async def healthy(tmp_path: Path) -> AsyncIterator[DoctorSetup]:
    """A working set-up."""
    async with doctor_setup(tmp_path) as made:
        yield made


async def test_working_setup_has_no_problem(healthy: DoctorSetup) -> None:
    """All checks have run."""
    found = await healthy.run_checks()
    assert {finding.level for finding in found} == {Level.OK}
    looked_at = {"configuration", "files", "ports", "connection", "clock", "token", "call"}
    looked_at.add("two tokens")
    assert {finding.check for finding in found} == looked_at
    tokens = [finding.text.split(":")[0] for finding in found if finding.check == "token"]
    assert tokens == ["v2", "v1"]


async def test_every_origin_is_checked(healthy: DoctorSetup) -> None:
    """A bank that is gone does not hide another; each user's login is tried."""
    async with Sandbox() as other:
        healthy.set(
            institutions={
                "00017": {
                    "base_url": other.url,
                    "client_id": "sandbox-client",
                    "client_secret_file": healthy.private("other", "sandbox-secret\n"),
                }
            },
            listeners={
                "alice": {
                    "listen": "127.0.0.1:0",
                    "username": "juniper",
                    "password_file": healthy.private("alice", "moonlight\n"),
                }
            },
        )
        found = await healthy.run_checks()
        assert {finding.level for finding in found} == {Level.OK}
        texts = "\n".join(finding.text for finding in found)
        for key in ("v2:00016:", "v2:00016:alice:", "v2:00017:"):
            assert f"{key} the bank issued" in texts
        assert len(other.bank.token_requests) >= 2
        await healthy.bank.stop()
        found = await healthy.run_checks()
        assert Level.FAILED in {finding.level for finding in found}
        texts = "\n".join(finding.text for finding in found)
        assert "v2:00016" not in texts
        assert "v2:00017: the bank issued" in texts


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.__name__)
async def test_cause_is_named_and_its_remedy_works(setup: Setup, healthy: DoctorSetup) -> None:
    """Exactly one cause, and none after its remedy."""
    steps = setup(healthy)
    expected = await anext(steps)
    problems = [finding for finding in await healthy.run_checks() if finding.is_problem]
    assert {finding.cause for finding in problems} == {expected}
    assert all(finding.fix for finding in problems)
    with suppress(StopAsyncIteration):
        await steps.asend(problems[0])
    assert [finding for finding in await healthy.run_checks() if finding.is_problem] == []


ELSEWHERE = {
    "address-failed",
    "port-forbidden",
    "open-files",
    "upstream-first-byte-timeout",
    "upstream-resolve-timeout",
    "upstream-tls-incomplete",
    "upstream-tls-revoked",
    "upstream-tls-unsuitable",
    "upstream-tls-version",
    "secret-base64",
    "secret-quoted",
    "secret-wrapped",
    "store-failing",
}


def test_every_remedy_is_tested() -> None:
    """By a set-up, or elsewhere."""
    source = "".join(map(inspect.getsource, BROKEN))
    files = Path(__file__).parent.glob("broken_*.py")
    assert {file.stem for file in files} == {
        module.__name__.rpartition(".")[2] for module in BROKEN
    }
    tried = {
        cause for cause in REMEDIES if f'yield "{cause}"' in source or f', "{cause}")' in source
    }
    assert REMEDIES.keys() - tried == ELSEWHERE


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ('"sandbox-secret"', "secret-quoted"),
        (" sandbox-secret", "secret-wrapped"),
        (base64.b64encode(b"sandbox-secret\n").decode(), "secret-base64"),
    ],
)
async def test_doubtful_secret_has_two_causes(
    healthy: DoctorSetup, content: str, cause: str
) -> None:
    """The file's content and the bank's refusal.

    It may be right, so the bank is called.
    """
    healthy.write_secret(content)
    problems = [finding for finding in await healthy.run_checks() if finding.is_problem]
    assert [finding.cause for finding in problems] == [cause, "token-bad-client"]
    healthy.write_secret()
    assert [finding for finding in await healthy.run_checks() if finding.is_problem] == []


async def test_silent_bank_has_two_causes(healthy: DoctorSetup) -> None:
    """For the connection and for the tokens."""
    port = await serve_bytes(b"", healthy.stack, hold=True)
    healthy.use_short_timeouts()
    healthy.set(base_url=f"http://127.0.0.1:{port}")
    causes = [finding.cause for finding in await healthy.run_checks() if finding.is_problem]
    assert causes == ["upstream-first-byte-timeout", "token-timeout"]
    healthy.use_default_timeouts()
    healthy.set(base_url=healthy.bank.url)
    assert [finding for finding in await healthy.run_checks() if finding.is_problem] == []


async def test_lost_tls_alert_is_handled(healthy: DoctorSetup) -> None:
    """A bank that requires a certificate may close before its alert is read."""
    own = certificate(healthy.folder / "own.pem", "127.0.0.1")
    context = server_context(own)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(own)
    port = refusing(server_context(own), healthy.stack, context)
    healthy.set(base_url=f"https://127.0.0.1:{port}", upstream={"ca_file": str(own)})
    causes = [finding.cause for finding in await healthy.run_checks() if finding.is_problem]
    assert causes == ["upstream-tls-client-certificate"]


@pytest.mark.parametrize(
    ("is_trusted", "cause"), [(True, "upstream-closed"), (False, "upstream-tls-self-signed")]
)
async def test_bank_that_accepts_one_connection(
    healthy: DoctorSetup, is_trusted: bool, cause: str
) -> None:
    """What a second connection would tell is left out."""
    own = certificate(healthy.folder / "own.pem", "localhost")
    context = server_context(own)
    context.sni_callback = lambda *_: server.close()
    server: asyncio.Server = await asyncio.start_server(
        lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    port = server.sockets[0].getsockname()[1]
    upstream = {"ca_file": str(own)} if is_trusted else {}
    healthy.set(base_url=f"https://localhost:{port}", upstream=upstream)
    problems = [finding for finding in await healthy.run_checks() if finding.is_problem]
    assert problems[-1].cause == cause


async def test_own_ports_are_recognized(healthy: DoctorSetup, tmp_path: Path) -> None:
    """The proxy that runs is named, and counts and shows nothing of the checks."""
    async with running(healthy.bank) as app:
        healthy.set(listen=str(app.data_address), admin=str(app.admin_address))
        found = [finding for finding in await healthy.run_checks() if finding.check == "ports"]
        status, metrics = app.status(), app.metrics.exposition("")[0].decode()
    assert (status.requests, status.errors) == ([], [])
    assert "candescent_proxy_requests_total{" not in metrics
    assert [finding.level for finding in found] == [Level.INFO, Level.INFO]
    assert all("by a candescent-proxy" in finding.text for finding in found)


async def test_unneeded_v1_is_a_note(healthy: DoctorSetup) -> None:
    """Credentials without V1 are no problem if V1 is not configured."""
    healthy.bank.bank.faults.append(Fault("v1token", status=401))
    found = [finding for finding in await healthy.run_checks() if finding.level is not Level.OK]
    assert [(finding.level, finding.cause) for finding in found] == [(Level.INFO, "")]
    assert "need one" in found[0].text


async def test_store_is_needed_where_tokens_replace_each_other(healthy: DoctorSetup) -> None:
    """With one there is nothing to fix."""
    key = healthy.private("key", "k1 " + base64.b64encode(bytes(32)).decode())
    healthy.set(store={"url": "redis://127.0.0.1:1", "encryption_key_file": key})
    healthy.bank.bank.settings = replace(healthy.bank.bank.settings, issuing="only")
    (finding,) = [one for one in await healthy.run_checks() if one.check == "two tokens"]
    assert (finding.level, "so the store is needed" in finding.text) == (Level.INFO, True)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("resource", status=404), "no call succeeded"),
        (Fault("token", code="CMN_90002", skip=1), "the second token call failed (500, CMN_90002"),
        (Fault("resource", reset=True, skip=2), "the second call failed"),
    ],
)
async def test_unknown_is_said(healthy: DoctorSetup, fault: Fault, why: str) -> None:
    """Whether a token invalidates another needs a second token and two calls."""
    healthy.bank.bank.faults.append(fault)
    (finding,) = [one for one in await healthy.run_checks() if one.check == "two tokens"]
    assert finding.level is Level.SKIPPED
    assert "not known whether a new token invalidates the one before" in finding.text
    assert why in finding.text


async def test_refused_credentials_are_not_sent_again(healthy: DoctorSetup) -> None:
    """A second refusal could lock the application."""
    healthy.write_secret("wrong")
    await healthy.run_checks()
    assert len(healthy.bank.bank.token_requests) == 1


async def test_results_show_no_secret(healthy: DoctorSetup) -> None:
    """Neither credentials nor tokens."""
    for fault in ("", "CMN_90004"):
        if fault:
            healthy.bank.bank.faults.append(Fault("any", code=fault))
        found = await healthy.run_checks()
        reported = "".join(finding.text + finding.fix for finding in found)
        secrets = ["sandbox-secret", *healthy.bank.bank.tokens]
        assert len(secrets) > 1
        assert not [secret for secret in secrets if secret in reported]


async def test_skipped_check_says_why(healthy: DoctorSetup) -> None:
    """A report never looks complete if it is not."""
    shutil.rmtree(healthy.secret, ignore_errors=True)
    healthy.secret.unlink()
    skipped = [finding for finding in await healthy.run_checks() if finding.level is Level.SKIPPED]
    assert [finding.text for finding in skipped] == ["Not checked: fix the files first."]
