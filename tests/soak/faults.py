"""What goes wrong: bank, token endpoint, network. Each for a while, then all is well."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from proxy.sandbox import Fault
from tests.soak.promises import Cause
from tests.soak.setup import World

Weather = Callable[[World], AbstractAsyncContextManager[None]]

TOKEN_FAULTS: dict[str, dict[str, Any]] = {
    "token endpoint fails": {"status": 503},
    "token endpoint is silent": {"hang": True},
    "token endpoint resets": {"reset": True},
    "token endpoint is slow": {"delay": 0.6},
    "token endpoint answers a web page": {"shape": "html"},
    "token endpoint answers half a JSON": {"shape": "notjson"},
    "token endpoint cuts its answer": {"cut": True},
    "token endpoint throttles": {"code": "CMN_90002"},
    "token endpoint refuses the client": {"code": "CMN_90004"},
    "tokens that no header may hold": {"token_text": "a\r\nX: b"},
    "tokens that are dead at once": {"expires_in": "0"},
}
BANK_FAULTS: dict[str, dict[str, Any]] = {
    "bank answers 503": {"status": 503},
    "bank resets": {"reset": True},
    "bank resets after its work": {"reset": True, "late": True},
    "bank cuts its answers": {"cut": True},
    "bank is silent": {"hang": True},
    "bank is silent in the middle": {"hang": True, "after_head": True},
    "bank is slow": {"delay": 0.5},
    "bank answers twice": {
        "wire": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond",
        "keep_open": True,
    },
    "bank speaks nonsense": {"wire": b"NONSENSE\r\n\r\n"},
    "bank gives two lengths": {
        "wire": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi"
    },
}


def faults(where: tuple[str, ...], cause: Cause, name: str, fault: dict[str, Any]) -> Weather:
    """Return a weather in which the bank has a fault at these places; a part of the time."""

    @asynccontextmanager
    async def weather(world: World) -> AsyncIterator[None]:
        present = [Fault(place, **fault) for place in where]
        with world.sky.spell(cause, name):
            world.bank.bank.faults.extend(present)
            try:
                yield
            finally:
                for one in present:
                    world.bank.bank.faults.remove(one)

    return weather


@asynccontextmanager
async def revoked(world: World) -> AsyncIterator[None]:
    """Every token is revoked at once, as by an administrator of the bank."""
    with world.sky.spell(Cause.REVOKED, "every token is revoked"):
        for token in list(world.bank.bank.live_tokens()):
            world.bank.bank.revoke(token.text)
        yield


@asynccontextmanager
async def idle_connections_closed(world: World) -> AsyncIterator[None]:
    """The bank restarts: every connection to it is closed, busy or not."""
    with world.sky.spell(Cause.NETWORK, "connections are closed"):
        world.bank.drop_connections()
        yield


@asynccontextmanager
async def connections_reset(world: World) -> AsyncIterator[None]:
    """A firewall forgets its state: every connection is reset."""
    with world.sky.spell(Cause.NETWORK, "connections are reset"):
        world.relay.reset_all()
        yield


@asynccontextmanager
async def unreachable(world: World) -> AsyncIterator[None]:
    """Nobody listens where the bank was, and what was open is gone."""
    with world.sky.spell(Cause.NETWORK, "bank is unreachable"):
        world.relay.refuse()
        world.relay.reset_all()
        try:
            yield
        finally:
            await world.relay.accept()


def network(name: str, **settings: Any) -> Weather:
    """Return a weather in which the network treats bytes both ways like this."""

    @asynccontextmanager
    async def weather(world: World) -> AsyncIterator[None]:
        with world.sky.spell(Cause.NETWORK, name):
            for direction in (world.relay.there, world.relay.back):
                for setting, value in settings.items():
                    setattr(direction, setting, value)
            try:
                yield
            finally:
                passed = world.relay.there.passed
                world.relay.heal()
                world.relay.there.passed = passed

    return weather


TOKENS: list[Weather] = [
    faults(("token", "v1token"), Cause.TOKENS, name, fault) for name, fault in TOKEN_FAULTS.items()
]
BANK: list[Weather] = [
    revoked,
    *(faults(("resource",), Cause.BANK, name, fault) for name, fault in BANK_FAULTS.items()),
]
NETWORK: list[Weather] = [
    idle_connections_closed,
    connections_reset,
    unreachable,
    network("network is slow", latency=0.1),
    network("network cuts bytes small", slice=7),
    network("network swallows everything", hole=True),
    network("network cuts connections", cut_after=700),
    network("network resets connections", reset_after=900),
]


async def tokens_track(world: World, *, until: float, pace: float) -> None:
    """Trouble the token endpoint now and then until a moment, in loop seconds."""
    while await _pause(world, until, pace):
        async with world.counter:
            await _let(world, TOKENS, pace)


async def bank_track(world: World, *, until: float, pace: float) -> None:
    """The same for the bank's resources."""
    while await _pause(world, until, pace):
        await _let(world, BANK, pace)


async def network_track(world: World, *, until: float, pace: float) -> None:
    """The same for the network between."""
    while await _pause(world, until, pace):
        async with world.road:
            await _let(world, NETWORK, pace)


async def _pause(world: World, until: float, pace: float) -> bool:
    await asyncio.sleep(world.dice.uniform(0.2, 1.0) * pace)
    return asyncio.get_running_loop().time() < until


async def _let(world: World, kinds: list[Weather], pace: float) -> None:
    async with world.dice.choice(kinds)(world):
        await asyncio.sleep(world.dice.uniform(0.1, 1.0) * pace)
