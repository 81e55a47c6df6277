"""The doctor before broken set-ups: it names the cause, and its cure cures."""

import inspect
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.cli.doctor.remedies import REMEDIES
from proxy.cli.doctor.results import Level
from proxy.sandbox import Fault
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
async def well(tmp_path: Path) -> AsyncIterator[DoctorSetup]:
    """A set-up in which all is well."""
    async with doctor_setup(tmp_path) as made:
        yield made


async def test_where_all_is_well(well: DoctorSetup) -> None:
    """Nothing is ill, and everything was looked at."""
    found = await well.examine()
    assert {finding.level for finding in found} == {Level.OK}
    looked_at = {"configuration", "files", "ports", "connection", "clock", "token", "call"}
    assert {finding.check for finding in found} == looked_at
    tokens = [finding.text.split(":")[0] for finding in found if finding.check == "token"]
    assert tokens == ["v2", "v1"]


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.__name__)
async def test_names_the_cause_and_the_cure_cures(setup: Setup, well: DoctorSetup) -> None:
    """One cause and no other is named; after its cure, all is well."""
    steps = setup(well)
    expected = await anext(steps)
    ill = [finding for finding in await well.examine() if finding.is_problem]
    assert {finding.cause for finding in ill} == {expected}
    assert all(finding.fix for finding in ill)
    with suppress(StopAsyncIteration):
        await steps.asend(ill[0])
    assert [finding for finding in await well.examine() if finding.is_problem] == []


ELSEWHERE = {
    "port-forbidden",
    "open-files",
    "upstream-first-byte-timeout",
    "upstream-tls-revoked",
    "upstream-tls-unsuitable",
    "upstream-tls-version",
    "secret-wrapped",
    "store-failing",
}


def test_every_remedy_is_tried() -> None:
    """No cause is told that no test has seen; the rest have tests of their own."""
    source = "".join(map(inspect.getsource, BROKEN))
    files = Path(__file__).parent.glob("broken_*.py")
    assert {file.stem for file in files} == {
        module.__name__.rpartition(".")[2] for module in BROKEN
    }
    tried = {cause for cause in REMEDIES if f'yield "{cause}"' in source}
    assert REMEDIES.keys() - tried == ELSEWHERE


async def test_secret_in_quotes(well: DoctorSetup) -> None:
    """Two causes that belong together: what is wrong with the file, and what the bank makes of it.

    The file is no mistake for sure, so the bank is asked.
    """
    well.write_secret('"sandbox-secret"')
    ill = [finding for finding in await well.examine() if finding.is_problem]
    assert [finding.cause for finding in ill] == ["secret-wrapped", "token-bad-client"]
    assert "ends with a quote" in ill[0].text
    well.write_secret()
    assert [finding for finding in await well.examine() if finding.is_problem] == []


async def test_bank_that_answers_nothing(well: DoctorSetup) -> None:
    """A bank that takes connections and hangs is told twice: on the way, and for its tokens."""
    port = await serve_bytes(b"", well.stack, hold=True)
    well.use_short_timeouts()
    well.set(base_url=f"http://127.0.0.1:{port}")
    causes = [finding.cause for finding in await well.examine() if finding.is_problem]
    assert causes == ["upstream-first-byte-timeout", "token-timeout"]
    well.use_default_timeouts()
    well.set(base_url=well.bank.url)
    assert [finding for finding in await well.examine() if finding.is_problem] == []


async def test_last_word_that_was_lost(well: DoctorSetup) -> None:
    """A bank that wants a certificate may cut the connection before its word for that is read."""
    own = certificate(well.folder / "own.pem", "127.0.0.1")
    context = server_context(own)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(own)
    port = refusing(server_context(own), well.stack, context)
    well.set(base_url=f"https://127.0.0.1:{port}", upstream={"ca_file": str(own)})
    causes = [finding.cause for finding in await well.examine() if finding.is_problem]
    assert causes == ["upstream-tls-client-certificate"]


async def test_ports_that_are_ours_already(well: DoctorSetup, tmp_path: Path) -> None:
    """With the proxy running, its ports are taken by itself, which is as it should be."""
    async with running(well.bank) as app:
        well.set(listen=str(app.data_address), admin=str(app.admin_address))
        found = [finding for finding in await well.examine() if finding.check == "ports"]
    assert [finding.level for finding in found] == [Level.NOTE, Level.NOTE]
    assert all("a candescent-proxy listens" in finding.text for finding in found)


async def test_v1_that_nothing_needs(well: DoctorSetup) -> None:
    """Keys without V1 are no fault where V1 is not configured; it is worth a note."""
    well.bank.bank.faults.append(Fault("v1token", status=401))
    found = [finding for finding in await well.examine() if finding.level is not Level.OK]
    assert [(finding.level, finding.cause) for finding in found] == [(Level.NOTE, "")]
    assert "need one" in found[0].text


async def test_keys_that_are_refused_are_not_shown_again(well: DoctorSetup) -> None:
    """A second refusal could lock the application."""
    well.write_secret("wrong")
    await well.examine()
    assert len(well.bank.bank.token_requests) == 1


async def test_no_secret_is_told(well: DoctorSetup) -> None:
    """Neither the keys nor the tokens are in any finding, well or ill."""
    for fault in ("", "CMN_90004"):
        if fault:
            well.bank.bank.faults.append(Fault("any", code=fault))
        found = await well.examine()
        told = "".join(finding.text + finding.fix for finding in found)
        secrets = ["sandbox-secret", *well.bank.bank.tokens]
        assert len(secrets) > 1
        assert not [secret for secret in secrets if secret in told]


async def test_what_cannot_be_looked_at_says_why(well: DoctorSetup) -> None:
    """A report never looks complete where it is not."""
    shutil.rmtree(well.secret, ignore_errors=True)
    well.secret.unlink()
    skipped = [finding for finding in await well.examine() if finding.level is Level.SKIPPED]
    assert [finding.text for finding in skipped] == ["Not checked: fix the files first."]
