"""The steps on a record, as a real server runs them: leases, fences, garbage."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.tokens.fleet.script import DIGEST, MAX_ENTRY, REMEMBERED, SCRIPT
from proxy.tokens.fleet.store import Store
from tests.support.redis_server import RedisServer, redis_server
from tests.tokens.fleet.store_harness import KEYS, NAME, RECORD, store


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Return a server of its own."""
    async with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
async def ours(server: RedisServer) -> AsyncIterator[Store]:
    """Return a store before it."""
    async with store(server.url) as (made, _):
        yield made


async def test_nothing_is_there_at_first(ours: Store, server: RedisServer) -> None:
    """To look leaves no trace; the time is the store's."""
    seen = await ours.read(NAME, KEYS)
    assert (seen.number, seen.lease_left, seen.refusal, seen.entries) == (0, 0, b"", {})
    assert not seen.rejected_digests
    assert seen.now == pytest.approx(time.time(), abs=60)
    assert await server.records() == []


async def test_one_lease_at_a_time(ours: Store) -> None:
    """The second to ask is told how long the first still has it."""
    first = await ours.lease(NAME, 5, KEYS)
    second = await ours.lease(NAME, 5, KEYS)
    assert first.number > 0 == second.number
    assert 0 < second.lease_left <= 5
    assert (await ours.read(NAME, KEYS)).lease_left > 0


async def test_many_ask_at_once(ours: Store) -> None:
    """Exactly one gets it."""
    seen = await asyncio.gather(*(ours.lease(NAME, 5, KEYS) for _ in range(50)))
    assert sum(one.number > 0 for one in seen) == 1


async def test_what_the_owner_writes_is_there_for_all(ours: Store, server: RedisServer) -> None:
    """With it the lease ends and the refusal is forgotten; it lives as long as it was told."""
    number = (await ours.lease(NAME, 5, KEYS)).number
    assert await ours.release(NAME, number, 0, b"k1 refusal", 60)
    number = (await ours.lease(NAME, 5, KEYS)).number
    assert await ours.write(NAME, number, "k1", b"entry", 100)
    seen = await ours.read(NAME, KEYS)
    assert (seen.lease_left, seen.refusal, seen.entries) == (0, b"", {"k1": b"entry"})
    assert 60_000 < await server.do("PTTL", RECORD) <= 100_000


async def test_who_lost_the_lease_writes_nothing(ours: Store) -> None:
    """Nor renews it, nor gives it back: its number is not the last one."""
    lost = (await ours.lease(NAME, 0.001, KEYS)).number
    await asyncio.sleep(0.01)
    newer = (await ours.lease(NAME, 5, KEYS)).number
    assert newer > lost
    assert not await ours.write(NAME, lost, "k1", b"old", 100)
    assert not await ours.renew(NAME, lost, 5)
    assert not await ours.release(NAME, lost, 0)
    assert await ours.write(NAME, newer, "k1", b"new", 100)
    assert not await ours.write(NAME, lost, "k1", b"old", 100)
    assert (await ours.read(NAME, KEYS)).entries == {"k1": b"new"}


async def test_numbers_grow_through_a_flush(ours: Store, server: RedisServer) -> None:
    """An emptied store does not give a number twice, so a forgotten owner stays without."""
    before = (await ours.lease(NAME, 5, KEYS)).number
    await server.do("FLUSHALL")
    assert not await ours.write(NAME, before, "k1", b"old", 100)
    after = (await ours.lease(NAME, 5, KEYS)).number
    assert after > before
    assert not await ours.write(NAME, before, "k1", b"old", 100)


async def test_leases_in_one_millisecond_have_different_numbers(ours: Store) -> None:
    """The last number plus one, where the clock has not moved on."""
    numbers = []
    for _ in range(20):
        numbers.append((await ours.lease(NAME, 5, KEYS)).number)
        await ours.release(NAME, numbers[-1], 0)
    assert numbers == sorted(set(numbers))


async def test_a_lease_can_be_held_and_given_back(ours: Store) -> None:
    """Renewed it lasts; given back it is free, after a pause if one is asked for."""
    number = (await ours.lease(NAME, 0.05, KEYS)).number
    assert await ours.renew(NAME, number, 5)
    assert (await ours.read(NAME, KEYS)).lease_left > 1
    assert await ours.release(NAME, number, 2)
    assert 0 < (await ours.lease(NAME, 5, KEYS)).lease_left <= 2
    assert await ours.release(NAME, number, 0)
    assert (await ours.lease(NAME, 5, KEYS)).number > number


async def test_a_refusal_stays_until_there_is_a_token(ours: Store) -> None:
    """Whoever looks sees it."""
    number = (await ours.lease(NAME, 5, KEYS)).number
    assert await ours.release(NAME, number, 0, b"k1 refusal", 60)
    assert (await ours.read(NAME, KEYS)).refusal == b"k1 refusal"
    assert (await ours.lease(NAME, 5, KEYS)).refusal == b"k1 refusal"


async def test_the_last_rejected_tokens_are_remembered(ours: Store) -> None:
    """Each once, a few of them, the last first to stay."""
    digests = [f"{number:0{DIGEST}x}" for number in range(REMEMBERED + 3)]
    for digest in (*digests, digests[-1]):
        await ours.reject(NAME, digest, 60)
    assert (await ours.read(NAME, KEYS)).rejected_digests == set(digests[-REMEMBERED:])


async def test_entries_of_other_keys_are_counted_only(ours: Store) -> None:
    """Who asks for its own keys is told that there are others."""
    for key_id in ("k1", "k9"):
        number = (await ours.lease(NAME, 5, KEYS)).number
        assert await ours.write(NAME, number, key_id, b"entry " + key_id.encode(), 100)
    seen = await ours.read(NAME, KEYS)
    assert (seen.entries, seen.has_unknown_entries) == ({"k1": b"entry k1"}, True)
    assert not (await ours.read(NAME, ("k1", "k9"))).has_unknown_entries


@pytest.mark.parametrize(
    "planted",
    [
        ("SET", RECORD, "moss"),
        ("RPUSH", RECORD, "moss", "fern"),
        ("HSET", RECORD, "fence", "moss", "until", "fern", "rejected", "x", "refusal", "y"),
        ("HSET", RECORD, "fence", "1e300", "until", "1e300"),
        ("HSET", RECORD, "fence", "9007199254740990", "until", "9007199254740990"),
        ("HSET", RECORD, "fence", "nan", "until", "inf"),
        ("HSET", RECORD, "fence", "-1", "until", "-1", "entry:k1", "z" * (MAX_ENTRY + 1)),
    ],
)
async def test_garbage_gets_nobody_stuck(
    ours: Store, server: RedisServer, planted: tuple[str, ...]
) -> None:
    """Whatever somebody put there: it is looked at, leased, and written over."""
    await server.do(*planted)
    assert (await ours.read(NAME, KEYS)).lease_left == 0
    seen = await ours.lease(NAME, 5, KEYS)
    assert 0 < seen.number < 2**53 - 2
    assert "k1" not in seen.entries
    assert await ours.write(NAME, seen.number, "k1", b"entry", 100)
    assert (await ours.read(NAME, KEYS)).entries == {"k1": b"entry"}
    assert await server.do("PTTL", RECORD) > 0
    await ours.reject(NAME, "a" * DIGEST, 60)


async def test_a_step_that_there_is_not(server: RedisServer) -> None:
    """Is an error, for whoever changes the one side only."""
    await server.do("HSET", RECORD, "fence", "1")
    with pytest.raises(Exception, match="no such operation"):
        await server.do("EVAL", SCRIPT, 1, RECORD, "moss", "1", "2")


async def test_many_keys_at_once(ours: Store) -> None:
    """Records do not touch each other, and the clients' connections are enough."""
    names = [f"{number:x}" for number in range(200)]
    seen = await asyncio.gather(*(ours.lease(name, 5, KEYS) for name in names))
    assert all(one.number > 0 for one in seen)
