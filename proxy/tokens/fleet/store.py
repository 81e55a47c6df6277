"""The token store: a Redis or Valkey that several proxies share. The proxy works without it.

Each operation has one short deadline, from waiting for a connection to the last byte of the reply,
and is not retried. After a failure a circuit breaker skips the store for a while, so that a failed
store rarely costs a deadline. Errors are raised as ``StoreError`` with a reason.

Importing this module imports ``redis``, so it is imported only if a store is configured.
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
"""Concurrent operations; others wait within their deadline."""

_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class StoreError(Exception):
    """An operation failed. ``reason`` says why."""

    def __init__(self, reason: StoreFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Client(Protocol):
    """The part of ``redis.asyncio``'s clients that is used."""

    async def execute_command(self, *args: Any) -> Any:
        """Run a command."""

    async def aclose(self) -> None:
        """Close the connections."""


class Store:
    """The operations of ``script``. ``deadline`` is in seconds, ``timer`` monotonic.

    Every operation raises ``StoreError``. ``name`` is a record's, without the prefix.
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
        """Why the store is unavailable; ``NONE`` when it works."""
        return self._health.failure

    async def read(self, name: str, key_ids: Sequence[str]) -> Record:
        """Return a record."""
        return Record.read(await self._operate("read", name, *key_ids), key_ids)

    async def lease(self, name: str, owner: str, seconds: float, key_ids: Sequence[str]) -> Record:
        """Take the lease if it is free or the owner's; return the record as it was before."""
        reply = await self._operate("lease", name, owner, _ms(seconds), *key_ids)
        return Record.read(reply, key_ids)

    async def renew(self, name: str, number: int, seconds: float) -> bool:
        """Extend the lease; return whether it was still held by this proxy."""
        return bool(await self._operate("renew", name, number, _ms(seconds)))

    async def write(
        self, name: str, number: int, key_id: str, entry: bytes, seconds: float
    ) -> bool:
        """Write an entry and release the lease; return False if another proxy has taken it over."""
        return bool(await self._operate("write", name, number, key_id, entry, _ms(seconds)))

    async def release(
        self, name: str, number: int, refusal: bytes = b"", seconds: float = 0.0
    ) -> bool:
        """Release the lease, and keep a refusal for ``seconds``."""
        return bool(await self._operate("release", name, number, refusal, _ms(seconds)))

    async def reject(self, name: str, digest: str, seconds: float) -> None:
        """Mark a token as rejected for ``seconds``, the rest of its life."""
        _ = await self._operate("reject", name, digest, _ms(seconds))

    async def close(self) -> None:
        """Close the connections."""
        with suppress(Exception):  # a failed store must not prevent the shutdown
            async with asyncio.timeout(self._deadline):
                await self._client.aclose()

    async def _operate(self, operation: str, name: str, *arguments: Any) -> Any:
        started = self._timer()
        if not self._circuit.allows(started, self._deadline):
            raise StoreError(StoreFailure.CIRCUIT_OPEN)
        reply, failure = None, StoreFailure.NONE
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        try:
            async with asyncio.timeout(self._deadline), self._slots:
                reply = await self._run(operation, self._prefix + ":{" + name + "}", *arguments)
        except Exception as error:  # noqa: BLE001 - no failure of the store may fail a request
            failure = failure_of(error)
        # redis-py sends with asyncio.wait_for, which loses a cancellation that comes as it ends
        # (python/cpython#86296, until Python 3.12). The task would go on, such as renewing a lease.
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError
        # Not reached by a cancelled operation, which says nothing about the store.
        self._note(operation, failure, self._timer() - started)
        if failure:  # outside the handler, so that it has no cause, which might hold a secret
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
        before = self._health.failure
        if failure.is_absence:
            self._circuit.record_failure(self._timer(), self._chance())
            self._health = self._health.after(operation, failure)
        elif self._circuit.is_too_slow(seconds, self._deadline):
            self._circuit.record_failure(self._timer(), self._chance())
        else:
            self._circuit.record_success()
            self._health = self._health.after(operation, failure)
        self._emit(StoreOperation(operation, seconds, failure))
        if self._health.failure is not before:
            self._emit(StoreStateChanged(self._health.failure))


class StoreHealth(NamedTuple):
    """The failures of the last read and of the last write.

    A store that is full, or a replica, can still be read, but tokens cannot be shared through it.
    """

    read_failure: StoreFailure = StoreFailure.NONE
    write_failure: StoreFailure = StoreFailure.NONE

    @property
    def failure(self) -> StoreFailure:
        """The failure to report; ``NONE`` if the store works."""
        return self.read_failure or self.write_failure

    def after(self, operation: str, failure: StoreFailure) -> "StoreHealth":
        """Return the health after an operation."""
        if failure.is_absence:
            return StoreHealth(failure, failure)
        if operation != "read":
            return StoreHealth(StoreFailure.NONE, failure) if failure else StoreHealth()
        write_failure = StoreFailure.NONE if self.write_failure.is_absence else self.write_failure
        return StoreHealth(failure, write_failure)


def failure_of(error: Exception) -> StoreFailure:
    """Return the reason for a client's exception."""
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
