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

from proxy.tokens.fleet.events import StoreAsked, StoreFact, StoreFailure, StoreTurned
from proxy.tokens.fleet.lease_policy import Circuit
from proxy.tokens.fleet.script import SCRIPT, Seen

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
        circuit: Circuit,
        timer: Callable[[], float],
        chance: Callable[[], float],
        emit: Callable[[StoreFact], None],
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._deadline = deadline
        self._circuit = circuit
        self._timer = timer
        self._chance = chance
        self._emit = emit
        self._places = asyncio.Semaphore(MAX_CONCURRENT)
        self._troubles = Troubles()

    @property
    def trouble(self) -> StoreFailure:
        """Why the store is of no use at present; ``NONE`` when it is."""
        return self._troubles.worst

    async def look(self, name: str, key_ids: Sequence[str]) -> Seen:
        """Return what is in a record."""
        return Seen.read(await self._step("look", name, *key_ids), key_ids)

    async def lease(self, name: str, seconds: float, key_ids: Sequence[str]) -> Seen:
        """Take the lease if nobody has it; return what was in the record."""
        return Seen.read(await self._step("lease", name, _ms(seconds), *key_ids), key_ids)

    async def renew(self, name: str, number: int, seconds: float) -> bool:
        """Hold the lease for longer; return whether it was still ours."""
        return bool(await self._step("renew", name, number, _ms(seconds)))

    async def write(
        self, name: str, number: int, key_id: str, entry: bytes, seconds: float
    ) -> bool:
        """Put an entry in and give the lease back; return whether nobody had taken it over."""
        return bool(await self._step("write", name, number, key_id, entry, _ms(seconds)))

    async def release(
        self, name: str, number: int, pause: float, refusal: bytes = b"", seconds: float = 0.0
    ) -> bool:
        """Give the lease back after a ``pause``, with a refusal that is kept for ``seconds``."""
        return bool(await self._step("release", name, number, _ms(pause), refusal, _ms(seconds)))

    async def reject(self, name: str, digest: str, seconds: float) -> None:
        """Note a token as rejected, for as long as it might live."""
        _ = await self._step("reject", name, digest, _ms(seconds))

    async def close(self) -> None:
        """Let the connections go."""
        with suppress(Exception):  # whatever a dead store answers to a farewell
            async with asyncio.timeout(self._deadline):
                await self._client.aclose()

    async def _step(self, step: str, name: str, *arguments: Any) -> Any:
        started = self._timer()
        if not self._circuit.allows(started, self._deadline):
            raise StoreError(StoreFailure.RESTING)
        answer, failure = None, StoreFailure.NONE
        try:
            async with asyncio.timeout(self._deadline), self._places:
                answer = await self._run(step, self._prefix + ":{" + name + "}", *arguments)
        except Exception as error:  # noqa: BLE001 - the store is no dependency, whatever it does
            failure = failure_of(error)
        # A step that was cancelled does not get here: it says nothing about the store.
        self._note(step, failure, self._timer() - started)
        if failure:  # out here, so that it drags no cause along, which might hold what was sent
            raise StoreError(failure)
        return answer

    async def _run(self, step: str, record: str, *arguments: Any) -> Any:
        try:
            return await self._client.execute_command("EVALSHA", _SHA, 1, record, step, *arguments)
        except redis_errors.NoScriptError:
            return await self._client.execute_command("EVAL", SCRIPT, 1, record, step, *arguments)

    def _note(self, step: str, failure: StoreFailure, seconds: float) -> None:
        if failure.is_absence:
            self._circuit.failed(self._timer(), self._chance())
        else:
            self._circuit.worked()
        before = self._troubles.worst
        self._troubles = self._troubles.after(step, failure)
        self._emit(StoreAsked(step, seconds, failure))
        if self._troubles.worst is not before:
            self._emit(StoreTurned(self._troubles.worst))


class Troubles(NamedTuple):
    """What was wrong with the last look and with the last change.

    A store that is full, or a replica, can still be looked into; that does not make it useful.
    """

    looking: StoreFailure = StoreFailure.NONE
    changing: StoreFailure = StoreFailure.NONE

    @property
    def worst(self) -> StoreFailure:
        """What to tell an operator."""
        return self.looking or self.changing

    def after(self, step: str, failure: StoreFailure) -> "Troubles":
        """Return what is known after a step."""
        if failure.is_absence:
            return Troubles(failure, failure)
        if step != "look":
            return Troubles(StoreFailure.NONE, failure) if failure else Troubles()
        kept = StoreFailure.NONE if self.changing.is_absence else self.changing
        return Troubles(failure, kept)


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
