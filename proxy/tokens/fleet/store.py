"""The store: a Redis or Valkey that many proxies share. Everything else can do without it.

Each step has one short deadline, from the wish for a connection to the last byte of the answer,
and is not tried again. A store that does not answer is then left alone for a while, so that a dead
one costs a deadline only rarely. What goes wrong comes out as ``StoreError`` with a word for it.

Importing this module imports ``redis``; only what has a store does.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any, NamedTuple, Protocol

from redis import exceptions as redis_errors

from proxy.tokens.fleet.events import StoreEvent, StoreFailure, StoreOperation, StoreStateChanged
from proxy.tokens.fleet.lease_policy import CircuitBreaker
from proxy.tokens.fleet.script import SCRIPT, Record

MAX_CONCURRENT = 16
"""Steps under way at once; others wait their turn within their deadline."""

_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class StoreError(Exception):
    """A step was not done. ``reason`` is a word for why."""

    def __init__(self, reason: StoreFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Client(Protocol):
    """What is used of ``redis.asyncio``'s clients."""

    async def execute_command(self, *args: Any) -> Any:
        """Run a command."""

    async def aclose(self) -> None:
        """Let the connections go."""


class Store:
    """Does the steps of ``script``. ``deadline`` is in seconds, ``timer`` monotonic.

    Every step raises ``StoreError``; ``names`` are those of records.
    """

    def __init__(
        self,
        client: Client,
        *,
        prefix: str,
        deadline: float,
        circuit: CircuitBreaker,
        timer: Callable[[], float],
        chance: Callable[[], float],
        emit: Callable[[StoreEvent], None],
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._deadline = deadline
        self._circuit = circuit
        self._timer = timer
        self._chance = chance
        self._emit = emit
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._health = StoreHealth()

    @property
    def failure(self) -> StoreFailure:
        """Why the store is of no use at present; ``NONE`` when it is."""
        return self._health.failure

    async def read(self, name: str, key_ids: Sequence[str]) -> Record:
        """Return what is in a record."""
        return Record.read(await self._operate("read", name, *key_ids), key_ids)

    async def lease(self, name: str, seconds: float, key_ids: Sequence[str]) -> Record:
        """Take the lease if nobody has it; return what was in the record."""
        return Record.read(await self._operate("lease", name, _ms(seconds), *key_ids), key_ids)

    async def renew(self, name: str, number: int, seconds: float) -> bool:
        """Hold the lease for longer; return whether it was still ours."""
        return bool(await self._operate("renew", name, number, _ms(seconds)))

    async def write(
        self, name: str, number: int, key_id: str, entry: bytes, seconds: float
    ) -> bool:
        """Put an entry in and give the lease back; return whether nobody had taken it over."""
        return bool(await self._operate("write", name, number, key_id, entry, _ms(seconds)))

    async def release(
        self, name: str, number: int, pause: float, refusal: bytes = b"", seconds: float = 0.0
    ) -> bool:
        """Give the lease back after a ``pause``, with a refusal that is kept for ``seconds``."""
        return bool(await self._operate("release", name, number, _ms(pause), refusal, _ms(seconds)))

    async def reject(self, name: str, digest: str, seconds: float) -> None:
        """Note a token as rejected, for as long as it might live."""
        _ = await self._operate("reject", name, digest, _ms(seconds))

    async def close(self) -> None:
        """Let the connections go."""
        with suppress(Exception):  # whatever a dead store answers to a farewell
            async with asyncio.timeout(self._deadline):
                await self._client.aclose()

    async def _operate(self, operation: str, name: str, *arguments: Any) -> Any:
        started = self._timer()
        if not self._circuit.allows(started, self._deadline):
            raise StoreError(StoreFailure.CIRCUIT_OPEN)
        reply, failure = None, StoreFailure.NONE
        try:
            async with asyncio.timeout(self._deadline), self._slots:
                reply = await self._run(operation, self._prefix + ":{" + name + "}", *arguments)
        except Exception as error:  # noqa: BLE001 - the store is no dependency, whatever it does
            failure = failure_of(error)
        # A step that was cancelled does not get here: it says nothing about the store.
        self._note(operation, failure, self._timer() - started)
        if failure:  # out here, so that it drags no cause along, which might hold what was sent
            raise StoreError(failure)
        return reply

    async def _run(self, operation: str, record: str, *arguments: Any) -> Any:
        try:
            return await self._client.execute_command(
                "EVALSHA", _SHA, 1, record, operation, *arguments
            )
        except redis_errors.NoScriptError:
            return await self._client.execute_command(
                "EVAL", SCRIPT, 1, record, operation, *arguments
            )

    def _note(self, operation: str, failure: StoreFailure, seconds: float) -> None:
        if failure.is_absence:
            self._circuit.record_failure(self._timer(), self._chance())
        else:
            self._circuit.record_success()
        before = self._health.failure
        self._health = self._health.after(operation, failure)
        self._emit(StoreOperation(operation, seconds, failure))
        if self._health.failure is not before:
            self._emit(StoreStateChanged(self._health.failure))


class StoreHealth(NamedTuple):
    """What was wrong with the last look and with the last change.

    A store that is full, or a replica, can still be looked into; that does not make it useful.
    """

    read_failure: StoreFailure = StoreFailure.NONE
    write_failure: StoreFailure = StoreFailure.NONE

    @property
    def failure(self) -> StoreFailure:
        """What to tell an operator."""
        return self.read_failure or self.write_failure

    def after(self, operation: str, failure: StoreFailure) -> "StoreHealth":
        """Return what is known after a step."""
        if failure.is_absence:
            return StoreHealth(failure, failure)
        if operation != "read":
            return StoreHealth(StoreFailure.NONE, failure) if failure else StoreHealth()
        write_failure = StoreFailure.NONE if self.write_failure.is_absence else self.write_failure
        return StoreHealth(failure, write_failure)


def failure_of(error: Exception) -> StoreFailure:
    """Return the word for what went wrong."""
    if isinstance(error.__context__, ssl.SSLError) or isinstance(error, ssl.SSLError):
        return StoreFailure.TLS
    for kind, reason in _FAILURES:
        if isinstance(error, kind):
            return reason
    text = str(error).lower()
    if "out of memory" in text or "maxmemory" in text:
        return StoreFailure.FULL
    return StoreFailure.OTHER


_FAILURES: Sequence[tuple[type[Exception], StoreFailure]] = (
    (TimeoutError, StoreFailure.TIMEOUT),
    (redis_errors.TimeoutError, StoreFailure.TIMEOUT),
    (redis_errors.AuthenticationError, StoreFailure.LOGIN),
    (redis_errors.AuthenticationWrongNumberOfArgsError, StoreFailure.LOGIN),
    (redis_errors.NoPermissionError, StoreFailure.FORBIDDEN),
    (redis_errors.BusyLoadingError, StoreFailure.STARTING),
    (redis_errors.ReadOnlyError, StoreFailure.READ_ONLY),
    (redis_errors.OutOfMemoryError, StoreFailure.FULL),
    (redis_errors.ClusterDownError, StoreFailure.UNREACHABLE),
    (redis_errors.ClusterError, StoreFailure.UNREACHABLE),
    (redis_errors.RedisClusterException, StoreFailure.UNREACHABLE),
    (redis_errors.ConnectionError, StoreFailure.UNREACHABLE),
    (OSError, StoreFailure.UNREACHABLE),
)


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 0)
