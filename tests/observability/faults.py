"""Faults of a proxy, its bank or its files, and the alerts that must fire."""

import asyncio
import os
import resource
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from typing import Any

from proxy.sandbox import Fault, Sandbox
from tests.observability.setup import MOST, BackgroundCallers, MonitoredProxy
from tests.support.mounted_files import write
from tests.support.running import CLIENT, DEADLINE

FaultContext = Callable[[Sandbox, MonitoredProxy], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class FaultCase:
    """A temporary fault. ``alerts`` must fire, ``also`` may fire.

    Both are names without ``CandescentProxy``. ``tls``: it needs a proxy with TLS.
    """

    title: str
    fault: FaultContext
    alerts: frozenset[str]
    also: frozenset[str] = frozenset()
    tls: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def tokens(institution: int, *places: str, **fault: Any) -> FaultContext:
    """Return a fault of the bank's token responses for one of a proxy's institutions.

    ``places`` are the affected token endpoints.
    """

    @asynccontextmanager
    async def doing(bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
        name = proxy.institutions[institution]
        with faulty(bank, [Fault(place, institution=name, **fault) for place in places]):
            async with BackgroundCallers(proxy, institution=name).calling():
                yield

    return doing


def resources(
    callers: int = 2, path: str = "/echo/well", rest: float = 0.1, **fault: Any
) -> FaultContext:
    """Return a fault of the bank's resources, with additional clients."""

    @asynccontextmanager
    async def doing(bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
        own = [
            Fault("resource", institution=name, path_prefix=path, **fault)
            for name in proxy.institutions
        ]
        with faulty(bank, own):
            async with BackgroundCallers(proxy, callers, path=path, rest=rest).calling():
                yield

    return doing


@contextmanager
def faulty(bank: Sandbox, faults: list[Fault]) -> Iterator[None]:
    """Add faults to the bank within the block."""
    bank.bank.faults.extend(faults)
    try:
        yield
    finally:
        for fault in faults:
            bank.bank.faults.remove(fault)


@asynccontextmanager
async def revoked(bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Revoke the proxy's tokens repeatedly."""

    async def revoke() -> None:
        while True:
            for name in proxy.institutions:
                for token in list(bank.bank.live_tokens(name)):
                    bank.bank.revoke(token.text)
            await asyncio.sleep(0.5)

    task = asyncio.create_task(revoke())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def rotated_badly(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Replace the client secret by one that the bank does not know."""
    write(proxy.secret, "mistyped")
    try:
        yield
    finally:
        write(proxy.secret, CLIENT["client_secret"])


@asynccontextmanager
async def misspelt(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Write an unknown setting into its configuration."""
    proxy.write(reload_intervall="5")
    try:
        yield
    finally:
        proxy.write()


@asynccontextmanager
async def expiring(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Replace its certificate by one that expires tomorrow."""
    await asyncio.to_thread(proxy.certify, 1)
    try:
        yield
    finally:
        await asyncio.to_thread(proxy.certify, 90)


@asynccontextmanager
async def starved(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Stop and continue the process repeatedly, as CPU throttling of a container does."""
    pid, over = proxy.running.pid, threading.Event()

    def throttle() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.25)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.06)

    thread = threading.Thread(target=throttle)
    async with BackgroundCallers(proxy).calling():
        thread.start()
        try:
            yield
        finally:
            over.set()
            await asyncio.to_thread(thread.join)


@asynccontextmanager
async def killed(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Kill the process; it is not restarted."""
    await proxy.running.program.end(signal.SIGKILL)
    yield


@asynccontextmanager
async def alone(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Stop the token store, and start it again."""
    assert proxy.store is not None
    await proxy.store.kill()
    try:
        yield
    finally:
        await proxy.store.start_again()


@asynccontextmanager
async def planted(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Write undecryptable entries into the token store; wait until the proxy reports them."""
    assert proxy.store is not None
    for record in await proxy.store.records():
        await proxy.store.do("HSET", record, "entry:moss", "moss")
    async with asyncio.timeout(DEADLINE):
        while not await proxy.running.sample("candescent_proxy_store_entries_unreadable"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    yield


@asynccontextmanager
async def untroubled(_bank: Sandbox, _proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Do nothing: the fault affects another proxy."""
    yield


@asynccontextmanager
async def wronged(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Send requests that the proxy refuses."""
    async with BackgroundCallers(proxy, 4, hostile=0.9).calling():
        yield


@asynccontextmanager
async def full_disk(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Let no file of the proxy grow; send requests that are logged."""
    _, most = resource.prlimit(proxy.running.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(proxy.running.pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        async with BackgroundCallers(proxy, hostile=0.5).calling():
            yield
    finally:
        resource.prlimit(proxy.running.pid, resource.RLIMIT_FSIZE, (most, most))


@asynccontextmanager
async def without_tls(_bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
    """Speak plain HTTP to the port with TLS."""
    host, port = proxy.running.listen.rsplit(":", 1)

    async def speak() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.read()
                writer.close()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()


def together(*doings: FaultContext) -> FaultContext:
    """Return all of these at once."""

    @asynccontextmanager
    async def doing(bank: Sandbox, proxy: MonitoredProxy) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for one in doings:
                await stack.enter_async_context(one(bank, proxy))
            yield

    return doing


WITHOUT_TOKEN = _names("TokenRefreshFailing NoToken TokenErrors ErrorBudgetBurn Failing")
UNWELL = _names("AnswersSlow AddsLatency EventLoopLag ErrorBudgetBurn Failing")

NO_TOKENS = FaultCase(
    "The bank's token endpoint is down",
    tokens(0, "token", "v1token", status=503),
    (WITHOUT_TOKEN - {"Failing"}) | {"TokenRunwayShort"},
    _names("Failing"),
)
REFUSED_CLIENT = FaultCase(
    "The bank does not know the client any more",
    tokens(1, "token", "v1token", code="CMN_90004"),
    _names("CredentialsRefused NoToken"),
    WITHOUT_TOKEN,
)
REFUSED_INSTITUTION = FaultCase(
    "The bank does not let the client act for an institution",
    tokens(2, "token", code="CMN_90005"),
    _names("InstitutionRefused NoToken"),
    WITHOUT_TOKEN,
)
THROTTLED = FaultCase(
    "The bank's quota is used up",
    tokens(3, "token", "v1token", code="CMN_90002"),
    _names("Throttled NoToken"),
    WITHOUT_TOKEN,
)
SLOW_TOKENS = FaultCase(
    "The bank's token endpoint takes longer than its tokens live",
    tokens(4, "token", expires_in=4, delay=3.0),
    _names("TokenEndpointSlow"),
    WITHOUT_TOKEN | {"TokenRunwayShort"},
)
REFUSED_TOKENS = FaultCase(
    "The bank refuses every token",
    resources(status=401),
    _names("TokensRefused Failing"),
    WITHOUT_TOKEN,
)
BANK_FAILS = FaultCase(
    "The bank resets connections, or says 500",
    together(resources(path="/echo/reset", reset=True), resources(path="/echo/500", status=500)),
    _names("UpstreamErrors ErrorBudgetBurn"),
    _names("Failing"),
)
BROKEN_RESPONSES = FaultCase(
    "The bank breaks responses off",
    resources(path="/echo/broken", cut=True),
    _names("ResponsesUndelivered"),
    _names("UpstreamErrors ErrorBudgetBurn Failing"),
)
BANK_SLOW = FaultCase(
    "The bank takes seconds to answer",
    resources(32, path="/echo/slow", rest=3.0, delay=5.5),
    _names("AnswersSlow ErrorBudgetBurn"),
    _names("Failing"),
)
FULL = FaultCase(
    "More requests come than there is room for",
    resources(3 * MOST, path="/echo/crowd", rest=2.0, delay=1.5),
    _names("Shedding OwnErrors ErrorBudgetBurn"),
    UNWELL,
)
BAD_ROTATION = FaultCase(
    "A secret is replaced by a mistyped one",
    rotated_badly,
    _names("SecretRotationFailed"),
    _names("ReloadFailed"),
)
BAD_CONFIGURATION = FaultCase("A setting is misspelt", misspelt, _names("ReloadFailed"))
OLD_CERTIFICATE = FaultCase(
    "A certificate is renewed with one that ends tomorrow",
    expiring,
    _names("CertificateExpiresSoon"),
    tls=True,
)
STARVED = FaultCase(
    "The proxy gets too little CPU", starved, _names("EventLoopLag"), UNWELL | {"Down"}
)
BAD_CALLERS = FaultCase(
    "An application fetches tokens of its own", wronged, _names("CallerErrors CallersRefused")
)
NO_TLS = FaultCase(
    "An application speaks plain HTTP to a port with TLS",
    without_tls,
    _names("ConnectionsRefused"),
    _names("CallerErrors CallersRefused"),
    tls=True,
)
FULL_DISK = FaultCase(
    "The disk of the access log is full",
    full_disk,
    _names("LogLinesDropped"),
    _names("CallerErrors CallersRefused"),
)
GARBAGE = FaultCase(
    "Somebody writes to the fleet's store", planted, _names("StoreEntriesUnreadable")
)
NO_STORE = FaultCase("The fleet's store is gone", alone, _names("StoreDown"))
SIBLING_OF_NO_STORE = FaultCase("It is gone for its sibling too", untroubled, _names("StoreDown"))
REVOKED = FaultCase("Somebody revokes the proxy's tokens", revoked, frozenset(), WITHOUT_TOKEN)
KILLED = FaultCase("The proxy is killed", killed, _names("Down"))
