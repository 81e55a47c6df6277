"""The script on a real server: leases, fencing numbers, garbage."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.tokens.fleet.script import DIGEST, MAX_ENTRY, REMEMBERED, SCRIPT
from proxy.tokens.fleet.store import Store
from tests.support.redis_server import RedisServer, redis_server
from tests.tokens.fleet.store_harness import KEYS, NAME, RECORD, owner, store


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Return a server."""
    async with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Store]:
    """Return a store client for it."""
    async with store(server.url) as (made, _):
        yield made


async def test_look_up_writes_nothing(client: Store, server: RedisServer) -> None:
    """The time is the store's."""
    seen = await client.read(NAME, KEYS)
    assert (seen.number, seen.lease_left, seen.refusal, seen.entries) == (0, 0, b"", {})
    assert not seen.rejected_digests
    assert seen.now == pytest.approx((await server.do("TIME"))[0], abs=60)
    assert await server.records() == []


async def test_one_lease_at_a_time(client: Store) -> None:
    """The second caller gets the remaining time of the first lease."""
    first = await client.lease(NAME, owner(), 5, KEYS)
    second = await client.lease(NAME, owner(), 5, KEYS)
    assert first.number > 0 == second.number
    assert 0 < second.lease_left <= 5
    assert (await client.read(NAME, KEYS)).lease_left > 0


async def test_concurrent_requests_get_one_lease(client: Store) -> None:
    """Exactly one succeeds."""
    seen = await asyncio.gather(*(client.lease(NAME, owner(), 5, KEYS) for _ in range(50)))
    assert sum(one.number > 0 for one in seen) == 1


async def test_write_ends_lease_and_refusal(client: Store, server: RedisServer) -> None:
    """The entry lives as long as the writer says."""
    number = (await client.lease(NAME, owner(), 5, KEYS)).number
    assert await client.release(NAME, number, b"k1 refusal", 60)
    number = (await client.lease(NAME, owner(), 5, KEYS)).number
    assert await client.write(NAME, number, "k1", b"entry", 100)
    seen = await client.read(NAME, KEYS)
    assert (seen.lease_left, seen.refusal, seen.entries) == (0, b"", {"k1": b"entry"})
    assert 60_000 < await server.do("PTTL", RECORD) <= 100_000


async def test_owner_of_a_lost_lease_writes_nothing(client: Store) -> None:
    """It neither renews nor releases: its fencing number is not the last."""
    lost = (await client.lease(NAME, owner(), 0.001, KEYS)).number
    await asyncio.sleep(0.01)
    newer = (await client.lease(NAME, owner(), 5, KEYS)).number
    assert newer > lost
    assert not await client.write(NAME, lost, "k1", b"old", 100)
    assert not await client.renew(NAME, lost, 5)
    assert not await client.release(NAME, lost)
    assert await client.write(NAME, newer, "k1", b"new", 100)
    assert not await client.write(NAME, lost, "k1", b"old", 100)
    assert (await client.read(NAME, KEYS)).entries == {"k1": b"new"}


async def test_numbers_grow_through_a_flush(client: Store, server: RedisServer) -> None:
    """An emptied store never repeats a number."""
    before = (await client.lease(NAME, owner(), 5, KEYS)).number
    await server.do("FLUSHALL")
    assert not await client.write(NAME, before, "k1", b"old", 100)
    after = (await client.lease(NAME, owner(), 5, KEYS)).number
    assert after > before
    assert not await client.write(NAME, before, "k1", b"old", 100)


async def test_leases_in_one_millisecond_have_different_numbers(client: Store) -> None:
    """The last number plus one, if the clock has not advanced."""
    numbers = []
    for _ in range(20):
        numbers.append((await client.lease(NAME, owner(), 5, KEYS)).number)
        await client.release(NAME, numbers[-1])
    assert numbers == sorted(set(numbers))


async def test_lease_can_be_renewed_and_released(client: Store) -> None:
    """A released lease is free."""
    number = (await client.lease(NAME, owner(), 0.05, KEYS)).number
    assert await client.renew(NAME, number, 5)
    assert (await client.read(NAME, KEYS)).lease_left > 1
    assert await client.release(NAME, number)
    assert (await client.lease(NAME, owner(), 5, KEYS)).number > number


async def test_owner_gets_its_lease_again(client: Store) -> None:
    """With a new number, because the reply with the first may be lost; others wait."""
    ours = owner()
    first = (await client.lease(NAME, ours, 5, KEYS)).number
    assert (await client.lease(NAME, owner(), 5, KEYS)).number == 0
    again = await client.lease(NAME, ours, 5, KEYS)
    assert (again.lease_left, again.number > first) == (0, True)
    assert not await client.write(NAME, first, "k1", b"old", 100)
    assert await client.write(NAME, again.number, "k1", b"new", 100)


async def test_refusal_stays_until_there_is_a_token(client: Store) -> None:
    """Every look-up returns it."""
    number = (await client.lease(NAME, owner(), 5, KEYS)).number
    assert await client.release(NAME, number, b"k1 refusal", 60)
    assert (await client.read(NAME, KEYS)).refusal == b"k1 refusal"
    assert (await client.lease(NAME, owner(), 5, KEYS)).refusal == b"k1 refusal"


async def test_last_rejected_tokens_are_kept(client: Store) -> None:
    """Each once, up to a limit."""
    digests = [f"{number:0{DIGEST}x}" for number in range(REMEMBERED + 3)]
    for digest in (*digests, digests[-1]):
        await client.reject(NAME, digest, 60)
    assert (await client.read(NAME, KEYS)).rejected_digests == set(digests[-REMEMBERED:])


async def test_entries_of_other_keys_are_counted(client: Store) -> None:
    """A proxy learns that there are others."""
    for key_id in ("k1", "k9"):
        number = (await client.lease(NAME, owner(), 5, KEYS)).number
        assert await client.write(NAME, number, key_id, b"entry " + key_id.encode(), 100)
    seen = await client.read(NAME, KEYS)
    assert (seen.entries, seen.has_unknown_entries) == ({"k1": b"entry k1"}, True)
    assert not (await client.read(NAME, ("k1", "k9"))).has_unknown_entries


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
async def test_garbage_is_replaced(
    client: Store, server: RedisServer, planted: tuple[str, ...]
) -> None:
    """A record with any content can be read, leased and overwritten."""
    await server.do(*planted)
    assert (await client.read(NAME, KEYS)).lease_left == 0
    seen = await client.lease(NAME, owner(), 5, KEYS)
    assert 0 < seen.number < 2**53 - 2
    assert "k1" not in seen.entries
    assert await client.write(NAME, seen.number, "k1", b"entry", 100)
    assert (await client.read(NAME, KEYS)).entries == {"k1": b"entry"}
    assert await server.do("PTTL", RECORD) > 0
    await client.reject(NAME, "a" * DIGEST, 60)


async def test_unknown_step_is_an_error(server: RedisServer) -> None:
    """Client and script must agree."""
    await server.do("HSET", RECORD, "fence", "1")
    with pytest.raises(Exception, match="no such operation"):
        await server.do("EVAL", SCRIPT, 1, RECORD, "moss", "1", "2")


async def test_concurrent_keys_are_independent(client: Store) -> None:
    """The client has enough connections."""
    names = [f"{number:x}" for number in range(200)]
    seen = await asyncio.gather(*(client.lease(name, owner(), 5, KEYS) for name in names))
    assert all(one.number > 0 for one in seen)
