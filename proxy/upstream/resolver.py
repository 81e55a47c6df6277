"""Addresses of names: one look-up at a time for each, its result shared and kept for a while.

When asking fails or takes long, the addresses of the last good look-up are used (RFC 8767).
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from proxy.upstream.events import LookedUp, LookupResult, UpstreamEventSink, ignore

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
AddressInfo = tuple[int, int, int, str, SocketAddress]
"""As ``socket.getaddrinfo`` returns it."""

PATIENCE = 0.25
"""Seconds that a look-up may take where an earlier result is at hand."""

RECHECK = 5.0
"""Seconds after a failed look-up during which the earlier result is used without asking."""

_NEVER = float("-inf")

Lookup = Callable[[str, int], list[AddressInfo]]
Outcome = list[AddressInfo] | OSError


def look_up(host: str, port: int) -> list[AddressInfo]:
    """Ask the system, in its order (RFC 6724). Blocks; raises ``OSError``."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[return-value]  # TCP over IP has these addresses alone
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error


@dataclass(slots=True)
class _Name:
    """What is known of one name; times are the loop's, in seconds."""

    addresses: list[AddressInfo]
    fetched_at: float = _NEVER
    fresh_until: float = _NEVER
    asked_at: float = _NEVER
    lookup: "asyncio.Future[Outcome] | None" = None


class Resolver:
    """Looks names up within one event loop.

    Each look-up has a thread of its own, which nothing waits for: ``getaddrinfo`` cannot be
    cancelled and may hang for a minute, and must keep neither other work nor the exit waiting.
    """

    def __init__(self, emit: UpstreamEventSink = ignore, lookup: Lookup = look_up) -> None:
        self._emit = emit
        self._lookup = lookup
        self._names: dict[tuple[str, int], _Name] = {}

    async def resolve(
        self, host: str, port: int, *, ttl: float, max_stale: float
    ) -> list[AddressInfo]:
        """Return the addresses of a name, or of an IP address that address itself.

        A result is kept for ``ttl`` seconds, and used for ``max_stale`` more when asking fails.
        Raises ``OSError``.
        """
        with suppress(OSError, UnicodeError):
            flags = socket.AI_NUMERICHOST
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)  # type: ignore[return-value]  # see above
        now = asyncio.get_running_loop().time()
        name = self._names.setdefault((host, port), _Name([]))
        if now < name.fresh_until:
            return name.addresses
        is_usable = now <= name.fetched_at + ttl + max_stale
        asking = name.lookup or self._start(name, host, port, ttl, is_usable=is_usable)
        wait = max(0.0, name.asked_at + PATIENCE - now) if is_usable else None
        # Unlike `await asking`, this does not cancel the look-up with one that waits for it.
        await asyncio.wait({asking}, timeout=wait)
        outcome = asking.result() if asking.done() else name.addresses
        if isinstance(outcome, OSError):
            if is_usable:
                return name.addresses
            raise outcome
        return outcome

    def _start(
        self, name: _Name, host: str, port: int, ttl: float, *, is_usable: bool
    ) -> "asyncio.Future[Outcome]":
        loop = asyncio.get_running_loop()
        asking: asyncio.Future[Outcome] = loop.create_future()
        name.lookup, name.asked_at = asking, loop.time()

        def finish(outcome: Outcome) -> None:
            now = loop.time()
            name.lookup = None
            if isinstance(outcome, OSError):
                result = LookupResult.STALE if is_usable else LookupResult.FAILURE
                why = outcome.strerror or str(outcome)
                name.fresh_until = now + RECHECK if is_usable else _NEVER
            else:
                result, why = LookupResult.SUCCESS, ""
                name.addresses, name.fetched_at, name.fresh_until = outcome, now, now + ttl
            asking.set_result(outcome)
            self._emit(LookedUp(host, result, now - name.asked_at, why))

        def ask() -> None:
            outcome: Outcome
            try:
                outcome = self._lookup(host, port)
            except OSError as error:
                outcome = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finish, outcome)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        return asking
