"""A faulty store: one short deadline, a reason, and a pause."""

import asyncio
import re
import signal
import ssl
from pathlib import Path

import pytest
from redis import exceptions as redis_errors

from proxy.tokens.fleet.clients import StoreLogin
from proxy.tokens.fleet.events import StoreFailure
from proxy.tokens.fleet.lease_policy import CircuitBreaker
from proxy.tokens.fleet.store import Store, StoreError, StoreHealth, failure_of
from tests.support.redis_server import redis_server
from tests.support.running import DEADLINE
from tests.support.tcp_relay import TcpRelay
from tests.tokens.fleet.store_harness import KEYS, NAME, RECORD, owner, store

DOCUMENT = Path(__file__).parents[3] / "docs" / "fleet.md"


async def failed(made: Store, step: str = "read") -> StoreFailure:
    """Run a step that fails; return its reason."""
    with pytest.raises(StoreError) as caught:
        await (made.read(NAME, KEYS) if step == "read" else made.lease(NAME, owner(), 5, KEYS))
    assert caught.value.__cause__ is None
    return caught.value.reason


async def until_done(made: Store, step: str = "read") -> None:
    """Repeat a step until it succeeds."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await (
                    made.read(NAME, KEYS)
                    if step == "read"
                    else made.lease(NAME, owner(), 0.5, KEYS)
                )
            except StoreError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_dead_store_is_left_alone_and_returns(tmp_path: Path) -> None:
    """It is tried once, then again after a pause."""
    async with redis_server(tmp_path) as server, store(server.url) as (made, reported):
        await made.read(NAME, KEYS)
        await server.kill()
        assert await failed(made) is StoreFailure.UNREACHABLE
        assert await failed(made) is StoreFailure.CIRCUIT_OPEN
        assert made.failure is StoreFailure.UNREACHABLE
        await server.start_again()
        await until_done(made)
        assert not made.failure
        assert reported.state_changes == [StoreFailure.UNREACHABLE, StoreFailure.NONE]
        assert StoreFailure.CIRCUIT_OPEN not in reported.failures


async def test_silent_store_costs_one_deadline(tmp_path: Path) -> None:
    """A stopped server or a black hole; later requests do not wait."""
    async with (
        redis_server(tmp_path) as server,
        store(server.url, deadline=0.3, circuit=CircuitBreaker(60, 60)) as (made, reported),
    ):
        await made.read(NAME, KEYS)
        await server.kill(signal.SIGSTOP)
        assert await failed(made) is StoreFailure.TIMEOUT
        assert {await failed(made) for _ in range(200)} == {StoreFailure.CIRCUIT_OPEN}
        assert reported.failures == [StoreFailure.NONE, StoreFailure.TIMEOUT]


@pytest.mark.parametrize("way", ["there", "back"])
async def test_network_faults_end_within_the_deadline(tmp_path: Path, way: str) -> None:
    """Black holes, resets, and slow or truncated responses."""
    async with (
        redis_server(tmp_path) as server,
        TcpRelay(server.port) as relay,
        store(f"redis://127.0.0.1:{relay.port}", deadline=0.5) as (made, _),
    ):
        direction = getattr(relay, way)
        direction.slice = 1
        await made.read(NAME, KEYS)
        direction.drops_bytes = True
        assert await failed(made) is StoreFailure.TIMEOUT
        relay.restore()
        await until_done(made)
        getattr(relay, way).reset_after = 0
        assert await failed(made) is StoreFailure.UNREACHABLE
        relay.restore()
        await until_done(made)
        relay.back.cut_after = 3
        assert await failed(made) in (StoreFailure.UNREACHABLE, StoreFailure.OTHER)
        relay.restore()
        await until_done(made)


async def test_response_never_reaches_another_request(tmp_path: Path) -> None:
    """A timed-out request leaves no response on a connection."""
    async with (
        redis_server(tmp_path) as server,
        TcpRelay(server.port) as relay,
        store(f"redis://127.0.0.1:{relay.port}", deadline=0.2) as (made, _),
    ):
        number = (await made.lease("other", owner(), 60, KEYS)).number
        assert await made.write("other", number, "k1", b"of the other", 60)
        relay.back.drops_bytes = True
        with pytest.raises(StoreError):
            await made.read("other", KEYS)
        relay.restore()
        for _ in range(20):
            await until_done(made)
            assert (await made.read(NAME, KEYS)).entries == {}


async def test_wrong_password_has_reason_login(tmp_path: Path) -> None:
    """With the right one it works without a restart."""
    passwords = ["wrong"]
    login = StoreLogin("", lambda: passwords[0])
    async with (
        redis_server(tmp_path, password="moss-of-the-store") as server,
        store(server.url, login=login) as (made, reported),
    ):
        assert await failed(made) is StoreFailure.LOGIN
        passwords[0] = "moss-of-the-store"
        await until_done(made)
        assert "moss-of-the-store" not in repr((made, reported, login))


async def test_missing_password_has_reason_login(tmp_path: Path) -> None:
    """The same reason."""
    async with (
        redis_server(tmp_path, password="moss-of-the-store") as server,
        store(server.url) as (made, _),
    ):
        assert await failed(made) is StoreFailure.LOGIN


async def test_user_without_scripts_has_reason_forbidden(tmp_path: Path) -> None:
    """The store is unavailable."""
    async with redis_server(tmp_path) as server:
        await server.do("ACL", "SETUSER", "fern", "on", ">moss", "~moss:*", "+@all", "-@scripting")
        login = StoreLogin("fern", lambda: "moss")
        async with store(server.url, login=login) as (made, reported):
            assert await failed(made) is StoreFailure.FORBIDDEN
            assert await failed(made) is StoreFailure.FORBIDDEN
            await server.do("ACL", "SETUSER", "fern", "+@scripting")
            await made.read(NAME, KEYS)
            assert reported.state_changes == [StoreFailure.FORBIDDEN, StoreFailure.NONE]


async def test_permissions_of_the_documentation_suffice(tmp_path: Path) -> None:
    """The commands in docs/fleet.md are necessary and sufficient."""
    document = DOCUMENT.read_text(encoding="utf-8")
    allowed = re.findall(r"\+[a-z]+", re.findall(r"ACL SETUSER .*", document)[0])
    async with redis_server(tmp_path) as server:
        await server.do("ACL", "SETUSER", "fern", "on", ">moss", "~moss:*", *allowed)
        async with store(server.url, login=StoreLogin("fern", lambda: "moss")) as (made, _):
            await server.do("SET", RECORD, "garbage")
            number = (await made.lease(NAME, owner(), 5, KEYS)).number
            assert await made.renew(NAME, number, 5)
            assert await made.write(NAME, number, "k1", b"entry", 60)
            await made.reject(NAME, "a" * 32, 60)
            assert (await made.read(NAME, KEYS)).entries
            number = (await made.lease(NAME, owner(), 5, KEYS)).number
            assert await made.release(NAME, number, b"refusal", 60)


async def test_full_store_can_be_read(tmp_path: Path) -> None:
    """Changes fail and are reported until there is room."""
    async with redis_server(tmp_path) as server, store(server.url) as (made, reported):
        number = (await made.lease(NAME, owner(), 5, KEYS)).number
        assert await made.write(NAME, number, "k1", b"entry", 60)
        await server.do("CONFIG", "SET", "maxmemory", "1")
        assert await failed(made, "lease") is StoreFailure.FULL
        assert (await made.read(NAME, KEYS)).entries
        assert made.failure is StoreFailure.FULL
        await server.do("CONFIG", "SET", "maxmemory", "0")
        await made.lease(NAME, owner(), 5, KEYS)
        assert reported.state_changes == [StoreFailure.FULL, StoreFailure.NONE]


async def test_replica_can_be_read(tmp_path: Path) -> None:
    """It is read-only until it is a primary again."""
    async with redis_server(tmp_path / "a") as first, redis_server(tmp_path / "b") as second:
        async with store(first.url) as (made, reported):
            number = (await made.lease(NAME, owner(), 5, KEYS)).number
            assert await made.write(NAME, number, "k1", b"entry", 60)
            await second.do("REPLICAOF", "127.0.0.1", str(first.port))
            async with asyncio.timeout(DEADLINE):
                while b"link_status:up" not in await second.info("replication"):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
        async with store(second.url) as (made, reported):
            assert (await made.read(NAME, KEYS)).entries == {"k1": b"entry"}
            assert await failed(made, "lease") is StoreFailure.READ_ONLY
            await second.do("REPLICAOF", "NO", "ONE")
            await made.lease(NAME, owner(), 5, KEYS)
            assert reported.state_changes == [StoreFailure.READ_ONLY, StoreFailure.NONE]


async def test_forgotten_scripts_are_sent_again(tmp_path: Path) -> None:
    """After SCRIPT FLUSH or a restart."""
    async with redis_server(tmp_path) as server, store(server.url) as (made, reported):
        await made.read(NAME, KEYS)
        await server.do("SCRIPT", "FLUSH")
        await made.read(NAME, KEYS)
        assert set(reported.failures) == {StoreFailure.NONE}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), StoreFailure.TIMEOUT),
        (redis_errors.TimeoutError(), StoreFailure.TIMEOUT),
        (redis_errors.BusyLoadingError(), StoreFailure.STARTING),
        (redis_errors.ClusterDownError("down"), StoreFailure.UNREACHABLE),
        (redis_errors.RedisClusterException(), StoreFailure.UNREACHABLE),
        (redis_errors.ResponseError("OOM command not allowed, maxmemory"), StoreFailure.FULL),
        (redis_errors.ResponseError("moss"), StoreFailure.OTHER),
        (OSError(), StoreFailure.UNREACHABLE),
        (ssl.SSLError(), StoreFailure.TLS),
        (ValueError(), StoreFailure.OTHER),
    ],
)
def test_every_error_has_a_reason(error: Exception, reason: StoreFailure) -> None:
    """Whatever the library raises."""
    assert failure_of(error) is reason


def test_readable_store_may_be_unavailable() -> None:
    """While it refuses changes; any success ends that."""
    full, gone = StoreFailure.FULL, StoreFailure.TIMEOUT
    assert StoreHealth().after("lease", full).after("read", StoreFailure.NONE).failure is full
    assert StoreHealth().after("lease", full).after("write", StoreFailure.NONE) == StoreHealth()
    assert StoreHealth().after("read", gone).after("read", StoreFailure.NONE) == StoreHealth()
    assert StoreHealth().after("read", StoreFailure.OTHER).failure is StoreFailure.OTHER
    assert StoreHealth().after("read", gone).after("lease", full).failure is full


async def test_cancelled_step_changes_no_state(tmp_path: Path) -> None:
    """It shows neither a working store nor a failed one."""
    async with (
        redis_server(tmp_path) as server,
        TcpRelay(server.port) as relay,
        store(f"redis://127.0.0.1:{relay.port}", circuit=CircuitBreaker(0.01, 0.01)) as (
            made,
            reported,
        ),
    ):
        relay.refuse()
        assert await failed(made) is StoreFailure.UNREACHABLE
        await relay.accept()
        relay.back.drops_bytes = True
        await asyncio.sleep(0.02)
        step = asyncio.ensure_future(made.read(NAME, KEYS))
        await asyncio.sleep(0.1)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        assert made.failure is StoreFailure.UNREACHABLE
        assert reported.failures == [StoreFailure.UNREACHABLE]
        relay.restore()
        await until_done(made)
