"""A token store in front of a real server, and its recorded events."""

import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from proxy.tokens.fleet.clients import StoreLogin, StoreTls, connect
from proxy.tokens.fleet.events import StoreEvent, StoreFailure, StoreOperation, StoreStateChanged
from proxy.tokens.fleet.lease_policy import CircuitBreaker
from proxy.tokens.fleet.store import Store
from proxy.tokens.fleet.url import StoreUrl

NAME = "0123456789abcdef"
RECORD = "moss:{" + NAME + "}"
KEYS = ("k1", "k2")


_numbers = itertools.count()


def owner() -> str:
    """Return another owner of leases each time."""
    return f"owner-{next(_numbers)}"


@dataclass
class StoreEvents:
    """The events of a store."""

    events: list[StoreEvent] = field(default_factory=list)

    @property
    def failures(self) -> list[StoreFailure]:
        """Return the failures of operations in order."""
        return [event.failure for event in self.events if isinstance(event, StoreOperation)]

    @property
    def state_changes(self) -> list[StoreFailure]:
        """Return the state changes in order."""
        return [event.failure for event in self.events if isinstance(event, StoreStateChanged)]


@asynccontextmanager
async def store(url: str, **options: Any) -> AsyncIterator[tuple[Store, StoreEvents]]:
    """Yield a store at a URL, and its events."""
    reported = StoreEvents()
    deadline = options.pop("deadline", 2.0)
    client = connect(
        StoreUrl.parse(url),
        options.pop("login", StoreLogin()),
        options.pop("sentinel_login", StoreLogin()),
        options.pop("tls", StoreTls()),
        deadline,
    )
    made = Store(
        client,
        prefix="moss",
        deadline=deadline,
        circuit=options.pop("circuit", CircuitBreaker(shortest=0.05, longest=0.2)),
        timer=time.monotonic,
        chance=random.random,
        emit=reported.events.append,
    )
    assert not options
    try:
        yield made, reported
    finally:
        await made.close()
