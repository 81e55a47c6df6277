"""``wait``: until the proxy is ready, or the timeout."""

import asyncio
import json
from pathlib import Path

import pytest

from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.inside import Inside
from tests.support.process import process
from tests.support.program import run_program
from tests.support.running import running, until

FAILED, WRONG = 1, 2


async def test_wait_returns_when_the_proxy_is_ready(bank: Sandbox, tmp_path: Path) -> None:
    """With the first token it exits with 0."""
    bank.bank.faults.append(Fault("token", status=503))
    quick = {"backoff_initial": "0.1", "backoff_max": "0.2"}
    async with process(tmp_path / "x.yaml", bank.url, ready=False, token=quick) as running:
        waiting = asyncio.create_task(run_program("wait", "--admin", running.admin))
        await until(lambda: len(list(running.program.events("token refresh failed"))) > 1)
        assert not waiting.done()
        bank.bank.faults.clear()
        exit_code, said, _ = await waiting
        assert exit_code == 0
        assert json.loads(said)["status"] == "ready"


async def test_wait_times_out_with_the_reasons(bank: Sandbox, tmp_path: Path) -> None:
    """The exit code is 1."""
    bank.bank.faults.append(Fault("token", code="CMN_90004"))
    async with process(tmp_path / "x.yaml", bank.url, ready=False) as running:
        exit_code, _, complaint = await run_program(
            "wait", "--timeout", "0.3", "--admin", running.admin
        )
        assert exit_code == FAILED
        assert "refused the client id and secret" in complaint


@pytest.mark.parametrize("name", ["wait", "healthcheck"])
async def test_missing_proxy_exits_with_1(name: str) -> None:
    """With the address, and without the outbound proxy."""
    arguments = ("--timeout", "0") if name == "wait" else ()
    exit_code, _, complaint = await run_program(
        name, *arguments, "--admin", "127.0.0.1:9", http_proxy="http://127.0.0.1:1"
    )
    assert exit_code == FAILED
    assert complaint.startswith("candescent-proxy: no response from 127.0.0.1:9")


async def test_wait_and_healthcheck_over_a_unix_socket(bank: Sandbox, tmp_path: Path) -> None:
    """If the admin port is one."""
    admin = f"unix:{tmp_path}/admin.sock"
    async with process(tmp_path / "x.yaml", bank.url, ready=False, admin=admin) as running:
        assert running.admin == admin
        for name in ("wait", "healthcheck"):
            assert (await run_program(name, "--admin", admin))[0] == 0


async def test_wait_for_the_timeout(inside: Inside) -> None:
    """The default timeout can be changed."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        async with running(bank, ready=False, token={"refusal_memory": "0.2"}) as app:
            await until(lambda: "client id and secret" in str(app.readiness().reasons))
            admin = ("--admin", str(app.admin_address))
            code, _, err = await inside.run("wait", *admin, "--timeout", "0")
            assert (code, "client id and secret" in err) == (1, True)
            waiting = asyncio.create_task(inside.run("wait", *admin, "--timeout", "20"))
            bank.bank.faults.clear()
            assert (await waiting)[0] == 0
            assert app.readiness().is_ready
