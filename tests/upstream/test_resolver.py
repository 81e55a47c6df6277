"""Look-ups of names: shared, kept, and what is done when they fail or hang."""

import asyncio
import socket
import threading
from dataclasses import dataclass, field

import pytest

from proxy.upstream.events import LookedUp, LookupResult, UpstreamEvent
from proxy.upstream.resolver import AddressInfo, Resolver, look_up
from tests.support.running import until

EVERY_LOOP = True

FAILURE = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def at(address: str) -> list[AddressInfo]:
    """Return what a look-up brings for one address."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]


@dataclass
class Names:
    """Answers look-ups in the order they come: an address, an error; None hangs until ``go``."""

    answers: list[str | OSError | None]
    asked: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    events: list[UpstreamEvent] = field(default_factory=list)

    def look_up(self, host: str, port: int) -> list[AddressInfo]:
        """Answer one; the last answer is repeated."""
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if answer is None:
            self.go.wait(60)
            return at("192.0.2.99")
        if isinstance(answer, OSError):
            raise answer
        return at(answer)

    def resolver(self) -> Resolver:
        """Return a resolver that asks here."""
        return Resolver(self.events.append, self.look_up)

    @property
    def results(self) -> list[LookupResult]:
        """Return what came of the look-ups."""
        return [event.result for event in self.events if isinstance(event, LookedUp)]


async def ask(resolver: Resolver, ttl: float = 30, max_stale: float = 3600) -> str:
    """Return the first address of a name."""
    found = await resolver.resolve("bank.test", 443, ttl=ttl, max_stale=max_stale)
    return str(found[0][4][0])


async def test_many_ask_once() -> None:
    """However many ask at the same time, and afterwards, there is one look-up."""
    names = Names(["192.0.2.1"])
    resolver = names.resolver()
    assert await asyncio.gather(*(ask(resolver) for _ in range(40))) == ["192.0.2.1"] * 40
    assert await ask(resolver) == "192.0.2.1"
    assert names.asked == 1
    assert names.results == [LookupResult.SUCCESS]


async def test_one_that_gives_up_leaves_the_others() -> None:
    """A cancelled waiter does not cancel the look-up."""
    names = Names([None])
    resolver = names.resolver()
    first, second = (asyncio.create_task(ask(resolver)) for _ in range(2))
    await until(lambda: names.asked)
    first.cancel()
    names.go.set()
    assert await second == "192.0.2.99"
    assert names.asked == 1


async def test_asked_anew_when_it_is_old() -> None:
    """A name that has moved is noticed once ``ttl`` is over."""
    names = Names(["192.0.2.1", "192.0.2.2"])
    resolver = names.resolver()
    assert await ask(resolver, ttl=0) == "192.0.2.1"
    assert await ask(resolver, ttl=0) == "192.0.2.2"


async def test_failure_is_not_kept() -> None:
    """Without an earlier result the error is told, and the next one asks again."""
    names = Names([FAILURE, "192.0.2.1"])
    resolver = names.resolver()
    with pytest.raises(socket.gaierror, match="Temporary failure"):
        await ask(resolver)
    assert await ask(resolver) == "192.0.2.1"
    assert names.results == [LookupResult.FAILURE, LookupResult.SUCCESS]


async def test_earlier_addresses_when_asking_fails() -> None:
    """They are used without asking anew for some seconds."""
    names = Names(["192.0.2.1", FAILURE])
    resolver = names.resolver()
    assert [await ask(resolver, ttl=0) for _ in range(4)] == ["192.0.2.1"] * 4
    assert names.asked == 2
    assert names.results == [LookupResult.SUCCESS, LookupResult.STALE]


async def test_earlier_addresses_are_not_used_for_ever() -> None:
    """Beyond ``max_stale`` the failure is told."""
    names = Names(["192.0.2.1", FAILURE])
    resolver = names.resolver()
    await ask(resolver, ttl=0)
    await asyncio.sleep(0.01)
    with pytest.raises(socket.gaierror):
        await ask(resolver, ttl=0, max_stale=0)


async def test_earlier_addresses_when_asking_hangs() -> None:
    """They are used while the look-up goes on, and its late answer is taken."""
    names = Names(["192.0.2.1", None])
    resolver = names.resolver()
    await ask(resolver, ttl=0)
    assert [await ask(resolver, ttl=0) for _ in range(3)] == ["192.0.2.1"] * 3
    assert (names.asked, names.results) == (2, [LookupResult.SUCCESS])
    names.go.set()
    await until(lambda: len(names.results) == 2)
    assert await ask(resolver, ttl=0) == "192.0.2.99"


async def test_addresses_need_no_look_up() -> None:
    """An IP address is itself."""
    names = Names([FAILURE])
    for host in ("192.0.2.7", "2001:db8::7"):
        found = await names.resolver().resolve(host, 443, ttl=1, max_stale=1)
        assert found[0][4][:2] == (host, 443)
    assert names.asked == 0


def test_name_that_cannot_be() -> None:
    """A label that is too long is a name that does not resolve, not a mistake of ours."""
    with pytest.raises(socket.gaierror, match="not a host name"):
        look_up("a" * 64 + ".test", 443)


def test_loop_that_ends_first() -> None:
    """A look-up that hangs keeps nothing waiting, and its answer has nowhere to go."""
    names = Names([None])

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(names.resolver())

    asyncio.run(give_up())
    names.go.set()
    for thread in threading.enumerate():
        if thread.name == "resolver":
            thread.join(10)
    assert names.results == []
