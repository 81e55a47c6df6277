"""Changes secrets and configuration under load, validly and invalidly.

No change may affect a client. An invalid change is followed by a valid one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from signal import SIGHUP

from tests.soak.setup import SoakSetup
from tests.support.mounted_files import write
from tests.support.running import until

Reconfiguration = Callable[[SoakSetup, int], Awaitable[None]]

TIMEOUT = 60.0
"""Seconds within which a reload must have succeeded or failed."""


async def rotate_secret(setup: SoakSetup, number: int) -> None:
    """Change the client secret at the bank and in the mount."""
    async with setup.token_lock, setup.network_lock:
        secret = f"secret-{number}"
        setup.set_clients(secret=secret)
        await _expect_success(
            setup, lambda: setup.secrets.swap(client_secret=secret, password="sundial")
        )


async def wrong_secret(setup: SoakSetup, number: int) -> None:
    """Mount an unknown secret, an empty one, then the valid one again."""
    async with setup.token_lock, setup.network_lock:
        good = (setup.secrets / "client_secret").read_text()
        for bad in (f"wrong-{number}", ""):
            await _expect_failure(setup, lambda bad=bad: _swap(setup, bad))  # type: ignore[misc]
        await _expect_success(setup, lambda: _swap(setup, good))


async def rotate_callers_secret(setup: SoakSetup, number: int) -> None:
    """Rotate the callers' secret: add a new one, let the clients change, remove the old one."""
    fresh = f"callers-{number}"
    async with setup.token_lock, setup.network_lock:
        await _expect_success(
            setup, lambda: setup.callers.swap(one=setup.callers_secret, two=fresh)
        )
        stale, setup.callers_secret = setup.callers_secret, fresh
        await until(lambda: not setup.presented[stale])
        await _expect_success(setup, lambda: setup.callers.swap(one=fresh, two=fresh))


async def reload_by_signal(setup: SoakSetup, number: int) -> None:
    """Change the configuration and reload it by SIGHUP."""
    async with setup.token_lock, setup.network_lock:
        setup.write(headers={"correlation_id": str(number % 2 == 0).lower()})
        await _expect_success(setup, lambda: setup.proxy.program.send(SIGHUP))


async def reload_by_request(setup: SoakSetup, number: int) -> None:
    """Change the configuration and reload it by ``POST /-/reload``."""
    async with setup.token_lock, setup.network_lock:
        setup.write(upstream={**setup.settings["upstream"], "max_age": str(100 + number)})
        status, _ = await setup.proxy.ask("/-/reload", "POST")
        if status != 200:
            raise AssertionError(f"a good configuration was refused ({status})")


async def wrong_configuration(setup: SoakSetup, _turn: int) -> None:
    """Write an invalid configuration, half a file, then a valid configuration."""
    async with setup.token_lock, setup.network_lock:
        for text in ("institution_id: [", "institution_id: x\ntokn: 1\n"):
            await _expect_failure(setup, lambda text=text: write(setup.file, text))  # type: ignore[misc]
        await _expect_success(setup, setup.write)


RECONFIGURATIONS: list[Reconfiguration] = [
    rotate_secret,
    wrong_secret,
    rotate_callers_secret,
    reload_by_signal,
    reload_by_request,
    wrong_configuration,
]


async def reconfigure(setup: SoakSetup, *, until: float, pace: float) -> None:
    """Make one change after another until a time in loop seconds."""
    loop, number = asyncio.get_running_loop(), setup.fault_schedule.counts.get("chores", 0)
    while loop.time() < until:
        number += 1
        setup.fault_schedule.counts["chores"] = number
        chore = RECONFIGURATIONS[number % len(RECONFIGURATIONS)]
        await chore(setup, number)
        name = chore.__name__.replace("_", " ")
        setup.fault_schedule.counts[name] = setup.fault_schedule.counts.get(name, 0) + 1
        await asyncio.sleep(setup.random.uniform(0.1, 0.5) * pace)


def _swap(setup: SoakSetup, secret: str) -> None:
    setup.secrets.swap(client_secret=secret, password="sundial")


async def _expect_success(setup: SoakSetup, change: Callable[[], None]) -> None:
    await _counted(setup, change, "success")


async def _expect_failure(setup: SoakSetup, change: Callable[[], None]) -> None:
    await _counted(setup, change, "failure")


async def _counted(setup: SoakSetup, change: Callable[[], None], result: str) -> None:
    """Make a change and wait for the expected result of the reload."""

    async def count() -> float:
        return await setup.proxy.sample("candescent_proxy_reloads_total", result=result)

    before = await count()
    change()
    async with asyncio.timeout(TIMEOUT):
        while await count() <= before:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
