"""What a running proxy says of itself to the doctor."""

import asyncio

from proxy.cli.doctor import running_proxy
from proxy.cli.doctor.results import CheckResult, Level
from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from proxy.server.address import Address
from tests.admin.test_page import call
from tests.support.redis_server import free_port
from tests.support.running import running


async def said(app: App) -> CheckResult:
    """Return the result of the check."""
    (result,) = await asyncio.to_thread(lambda: [*running_proxy.check(app.admin_address)])
    return result


async def test_state_of_a_running_proxy() -> None:
    """With cause and fix of a problem; asking leaves no trace."""
    async with Sandbox() as bank, running(bank) as app:
        result = await said(app)
        assert (result.level, result.cause) == (Level.OK, "")
        assert result.text == (
            "The running proxy: Ready: tokens are fresh. No requests in the last minute."
        )
        bank.bank.faults.append(Fault("resource", status=401))
        for _ in range(3):
            await call(app)
        result = await said(app)
        assert (result.level, result.cause) == (Level.FAILED, "token-refused")
        assert "the bank refuses our tokens (3 of 3" in result.text
        assert "client_id" in result.fix
        assert app.status().minute.requests == 3


async def test_starting_proxy() -> None:
    """No problem yet."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", hang=True))
        async with running(bank, ready=False) as app:
            assert (await said(app)).level is Level.INFO


def test_no_proxy() -> None:
    """Nothing is said."""
    assert [*running_proxy.check(Address("127.0.0.1", free_port()))] == []
