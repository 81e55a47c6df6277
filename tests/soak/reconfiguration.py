"""What changes at home while callers call: secrets, configuration; rightly, and wrongly.

None of it may ever be felt by a caller. A wrong one is followed by a right one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from signal import SIGHUP

from tests.soak.setup import World
from tests.support.mounted_files import write

Chore = Callable[[World, int], Awaitable[None]]

PATIENCE = 15.0
"""Seconds within which a change must have been taken or refused."""


async def rotate_secret(world: World, turn: int) -> None:
    """The bank knows another secret, and Kubernetes swaps the mount."""
    async with world.counter, world.road:
        secret = f"secret-{turn}"
        world.let_in(secret=secret)
        await _taken(world, lambda: world.secrets.swap(client_secret=secret, password="sundial"))


async def wrong_secret(world: World, turn: int) -> None:
    """A secret that the bank does not know, an empty one, then the good one again."""
    async with world.counter, world.road:
        good = (world.secrets / "client_secret").read_text()
        for bad in (f"wrong-{turn}", ""):
            await _refused(world, lambda bad=bad: _swap(world, bad))  # type: ignore[misc]
        await _taken(world, lambda: _swap(world, good))


async def rotate_callers_secret(world: World, turn: int) -> None:
    """The callers' secret: a new one beside the old, then callers change, then the old goes."""
    fresh = f"callers-{turn}"
    async with world.counter, world.road:
        await _taken(world, lambda: world.callers.swap(one=world.shown, two=fresh))
        world.shown = fresh
        await asyncio.sleep(0.2)  # requests that were written with the old one arrive
        await _taken(world, lambda: world.callers.swap(one=fresh, two=fresh))


async def reload_by_signal(world: World, turn: int) -> None:
    """Another configuration, by SIGHUP."""
    async with world.counter, world.road:
        world.write(headers={"correlation_id": str(turn % 2 == 0).lower()})
        await _taken(world, lambda: world.proxy.program.send(SIGHUP))


async def reload_by_request(world: World, turn: int) -> None:
    """Another configuration, by POST /-/reload."""
    async with world.counter, world.road:
        world.write(upstream={**world.written["upstream"], "max_age": str(100 + turn)})
        status, _ = await world.proxy.ask("/-/reload", "POST")
        if status != 200:
            raise AssertionError(f"a good configuration was refused ({status})")


async def wrong_configuration(world: World, _turn: int) -> None:
    """A mistake, then half a file, then a good one."""
    async with world.counter, world.road:
        for text in ("institution_id: [", "institution_id: x\ntokn: 1\n"):
            await _refused(world, lambda text=text: write(world.file, text))  # type: ignore[misc]
        await _taken(world, world.write)


CHORES: list[Chore] = [
    rotate_secret,
    wrong_secret,
    rotate_callers_secret,
    reload_by_signal,
    reload_by_request,
    wrong_configuration,
]


async def household(world: World, *, until: float, pace: float) -> None:
    """Do one chore after another until a moment, in loop seconds."""
    loop, turn = asyncio.get_running_loop(), world.sky.counts.get("chores", 0)
    while loop.time() < until:
        turn += 1
        world.sky.counts["chores"] = turn
        chore = CHORES[turn % len(CHORES)]
        await chore(world, turn)
        name = chore.__name__.replace("_", " ")
        world.sky.counts[name] = world.sky.counts.get(name, 0) + 1
        await asyncio.sleep(world.dice.uniform(0.1, 0.5) * pace)


def _swap(world: World, secret: str) -> None:
    world.secrets.swap(client_secret=secret, password="sundial")


async def _taken(world: World, change: Callable[[], None]) -> None:
    await _counted(world, change, "success")


async def _refused(world: World, change: Callable[[], None]) -> None:
    await _counted(world, change, "failure")


async def _counted(world: World, change: Callable[[], None], result: str) -> None:
    """Make a change and wait until the proxy has decided on it as it should."""

    async def count() -> float:
        return await world.proxy.sample("candescent_proxy_reloads_total", result=result)

    before = await count()
    change()
    async with asyncio.timeout(PATIENCE):
        while await count() <= before:  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.1)
