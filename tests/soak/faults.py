"""Temporary faults of bank, token endpoint and network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from proxy.sandbox import Fault
from tests.soak.promises import FaultCause
from tests.soak.setup import SoakSetup

FaultContext = Callable[[SoakSetup], AbstractAsyncContextManager[None]]

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


def faults(
    where: tuple[str, ...], cause: FaultCause, name: str, fault: dict[str, Any]
) -> FaultContext:
    """Return a temporary fault of the bank at these places."""

    @asynccontextmanager
    async def causes(setup: SoakSetup) -> AsyncIterator[None]:
        present = [Fault(place, **fault) for place in where]
        with setup.fault_schedule.period(cause, name):
            setup.bank.bank.faults.extend(present)
            try:
                yield
            finally:
                for one in present:
                    setup.bank.bank.faults.remove(one)

    return causes


@asynccontextmanager
async def revoked(setup: SoakSetup) -> AsyncIterator[None]:
    """Revoke all tokens at once."""
    with setup.fault_schedule.period(FaultCause.REVOKED, "every token is revoked"):
        for token in list(setup.bank.bank.live_tokens()):
            setup.bank.bank.revoke(token.text)
        yield


@asynccontextmanager
async def idle_connections_closed(setup: SoakSetup) -> AsyncIterator[None]:
    """Close all connections of the bank, as a restart does."""
    with setup.fault_schedule.period(FaultCause.NETWORK, "connections are closed"):
        setup.bank.drop_connections()
        yield


@asynccontextmanager
async def connections_reset(setup: SoakSetup) -> AsyncIterator[None]:
    """Reset all connections, as a firewall that loses its state does."""
    with setup.fault_schedule.period(FaultCause.NETWORK, "connections are reset"):
        setup.relay.reset_all()
        yield


@asynccontextmanager
async def unreachable(setup: SoakSetup) -> AsyncIterator[None]:
    """Stop listening for the bank and reset its connections."""
    with setup.fault_schedule.period(FaultCause.NETWORK, "bank is unreachable"):
        setup.relay.refuse()
        setup.relay.reset_all()
        try:
            yield
        finally:
            await setup.relay.accept()


def network(name: str, **settings: Any) -> FaultContext:
    """Return a temporary fault of the network in both directions."""

    @asynccontextmanager
    async def causes(setup: SoakSetup) -> AsyncIterator[None]:
        with setup.fault_schedule.period(FaultCause.NETWORK, name):
            for direction in (setup.relay.there, setup.relay.back):
                for setting, value in settings.items():
                    setattr(direction, setting, value)
            try:
                yield
            finally:
                passed = setup.relay.there.passed
                setup.relay.restore()
                setup.relay.there.passed = passed

    return causes


TOKENS: list[FaultContext] = [
    faults(("token", "v1token"), FaultCause.TOKENS, name, fault)
    for name, fault in TOKEN_FAULTS.items()
]
BANK: list[FaultContext] = [
    revoked,
    *(faults(("resource",), FaultCause.BANK, name, fault) for name, fault in BANK_FAULTS.items()),
]
NETWORK: list[FaultContext] = [
    idle_connections_closed,
    connections_reset,
    unreachable,
    network("network is slow", latency=0.1),
    network("network cuts bytes small", slice=7),
    network("network swallows everything", drops_bytes=True),
    network("network cuts connections", cut_after=700),
    network("network resets connections", reset_after=900),
]


async def tokens_track(setup: SoakSetup, *, until: float, pace: float) -> None:
    """Cause faults of the token endpoint until a time in loop seconds."""
    while await _pause(setup, until, pace):
        async with setup.token_lock:
            await _let(setup, TOKENS, pace)


async def bank_track(setup: SoakSetup, *, until: float, pace: float) -> None:
    """Cause faults of the bank's resources until a time in loop seconds."""
    while await _pause(setup, until, pace):
        await _let(setup, BANK, pace)


async def network_track(setup: SoakSetup, *, until: float, pace: float) -> None:
    """Cause faults of the network until a time in loop seconds."""
    while await _pause(setup, until, pace):
        async with setup.network_lock:
            await _let(setup, NETWORK, pace)


async def _pause(setup: SoakSetup, until: float, pace: float) -> bool:
    await asyncio.sleep(setup.random.uniform(0.2, 1.0) * pace)
    return asyncio.get_running_loop().time() < until


async def _let(setup: SoakSetup, kinds: list[FaultContext], pace: float) -> None:
    async with setup.random.choice(kinds)(setup):
        await asyncio.sleep(setup.random.uniform(0.1, 1.0) * pace)
