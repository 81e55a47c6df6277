"""A bank whose token calls fail gets no more of them from a fleet with a store than without.

Two fleets of real processes start at banks that fail in the same way, and have permanent callers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import Fault, Sandbox
from proxy.tasks import Tasks
from tests.support.process import write_settings
from tests.support.redis_server import redis_server
from tests.support.running import CLIENT, until
from tests.tokens.fleet.encryption_keys import write_key
from tests.tokens.fleet.members import Member, members

COUNT = 12
CALLS_OF_EACH = 2
"""Token calls of each lone proxy, on average, after which the bank works again."""


@dataclass
class CalledFleet:
    """A fleet, its bank, and the last status that each proxy's caller got."""

    bank: Sandbox
    members: list[Member]
    statuses: dict[int, int]

    @property
    def calls(self) -> int:
        """Return the number of token calls."""
        return len(self.bank.bank.token_requests)

    def have_all(self, status: int) -> bool:
        """Whether each proxy responded with this status last."""
        return list(self.statuses.values()) == [status] * len(self.members)

    async def keep_calling(self, member: Member) -> None:
        """Call again and again."""
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"http://{member.listen}/echo") as response:
                    self.statuses[member.number] = response.status
                await asyncio.sleep(0.5)


@asynccontextmanager
async def called_fleet(file: Path, fault: Fault, **settings: Any) -> AsyncIterator[CalledFleet]:
    """Start a fleet and its callers at a bank with a fault."""
    async with AsyncExitStack() as stack:
        bank = await stack.enter_async_context(Sandbox())
        bank.bank.faults.append(fault)
        secret = file.with_suffix(".secret")
        secret.write_text(CLIENT["client_secret"])
        write_settings(
            file,
            bank.url,
            client_id=CLIENT["client_id"],
            client_secret_file=str(secret),
            log={"level": "error", "access": "off"},
            token={"timeout": "2"},
            **settings,
        )
        fleet = CalledFleet(bank, await stack.enter_async_context(members(file, COUNT)), {})
        callers = Tasks("callers")
        stack.push_async_callback(callers.cancel)
        for member in fleet.members:
            callers.spawn_background("caller", fleet.keep_calling(member))
        yield fleet


@pytest.mark.parametrize(
    "fault", [partial(Fault, reset=True), partial(Fault, hang=True)], ids=["reset", "hang"]
)
async def test_failing_bank_gets_no_more_calls_with_a_store(tmp_path: Path, fault: Any) -> None:
    """It gets fewer, and afterwards every proxy has a token."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(redis_server(tmp_path / "redis"))
        shared = await stack.enter_async_context(
            called_fleet(
                tmp_path / "shared.yaml",
                fault("token"),
                store={
                    "url": store.url,
                    "encryption_key_file": str(write_key(tmp_path / "keys")),
                    # On a busy machine a slow store is not the point.
                    "timeout": "30",
                },
            )
        )
        # It starts later, so each of its calls is compared with more time of the other fleet.
        alone = await stack.enter_async_context(
            called_fleet(tmp_path / "alone.yaml", fault("token"))
        )
        await until(lambda: alone.calls >= CALLS_OF_EACH * COUNT and shared.have_all(503))
        calls_with_store, calls_alone = shared.calls, alone.calls
        for fleet in (alone, shared):
            fleet.bank.bank.faults.clear()
        await until(lambda: alone.have_all(200) and shared.have_all(200))
    assert calls_with_store <= calls_alone / 2, (calls_with_store, calls_alone)
