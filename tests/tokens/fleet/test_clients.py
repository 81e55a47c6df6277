"""Store clients: TLS, users, changing passwords, Sentinel and Cluster.

Each runs against real servers on loopback.
"""

import asyncio
import gc
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.tokens.fleet.clients import StoreLogin, StoreTls
from proxy.tokens.fleet.events import StoreFailure
from proxy.tokens.fleet.store import Store, StoreError
from tests.support.certificates import OpensslAuthority
from tests.support.redis_server import RedisServer, free_port, redis_server
from tests.support.running import DEADLINE
from tests.tokens.fleet.store_harness import KEYS, NAME, owner, store

DOCUMENT = Path(__file__).parents[3] / "docs" / "fleet.md"


async def round_trip(made: Store) -> None:
    """Write an entry and read it."""
    number = (await made.lease(NAME, owner(), 5, KEYS)).number
    assert await made.write(NAME, number, "k1", b"entry", 60)
    assert (await made.read(NAME, KEYS)).entries == {"k1": b"entry"}


async def until_round_trip(made: Store) -> None:
    """Repeat a round trip until it succeeds."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await round_trip(made)
            except (StoreError, AssertionError):
                await asyncio.sleep(0.1)
            else:
                return


@pytest.fixture
def authority(tmp_path: Path) -> OpensslAuthority:
    """Return a test authority."""
    return OpensslAuthority.make(tmp_path)


# redis-server has the machine's clock, and checks the dates of its clients' certificates.
REDIS_CHECKS_DATES = pytest.mark.machine_clock


@asynccontextmanager
async def tls_server(folder: Path, authority: OpensslAuthority) -> AsyncIterator[RedisServer]:
    """Start a server that speaks TLS only and requires client certificates."""
    leaf = authority.issue("store", "IP:127.0.0.1", file="store")
    port = free_port()
    arguments = (
        *("--port", "0", "--tls-port", str(port), "--tls-cert-file", str(leaf)),
        *("--tls-key-file", str(leaf), "--tls-ca-cert-file", str(authority.file)),
    )
    options: dict[str, Any] = {
        "ssl": True,
        "ssl_ca_certs": str(authority.file),
        "ssl_certfile": str(leaf),
        "ssl_keyfile": str(leaf),
    }
    async with redis_server(folder, *arguments, port=port, **options) as server:
        yield server


@REDIS_CHECKS_DATES
async def test_mutual_tls(tmp_path: Path, authority: OpensslAuthority) -> None:
    """The client verifies the server and sends its certificate."""
    ours = authority.issue("proxy", file="proxy")
    async with tls_server(tmp_path / "redis", authority) as server:
        url = f"rediss://127.0.0.1:{server.port}"
        async with store(url, tls=StoreTls(authority.file, ours, ours)) as (made, _):
            await round_trip(made)


@REDIS_CHECKS_DATES
async def test_untrusted_store_has_reason_tls(tmp_path: Path, authority: OpensslAuthority) -> None:
    """Another authority or another name."""
    (tmp_path / "other").mkdir()
    other = OpensslAuthority.make(tmp_path / "other")
    async with tls_server(tmp_path / "redis", authority) as server:
        for url, ca_file in (
            (f"rediss://127.0.0.1:{server.port}", other.file),
            (f"rediss://localhost:{server.port}", authority.file),
        ):
            async with store(url, tls=StoreTls(ca_file)) as (made, _):
                with pytest.raises(StoreError) as caught:
                    await made.read(NAME, KEYS)
                assert caught.value.reason is StoreFailure.TLS


async def test_password_that_changes_is_read_again(tmp_path: Path) -> None:
    """The next connection uses the new password, without a restart."""
    file = tmp_path / "password"
    file.write_text("first-moss")
    login = StoreLogin("fern", file.read_text)
    async with redis_server(tmp_path / "redis") as server:
        await server.do("ACL", "SETUSER", "fern", "on", ">first-moss", "~*", "+@all")
        async with store(server.url, login=login) as (made, reported):
            await round_trip(made)
            file.write_text("second-moss")
            await server.do("ACL", "SETUSER", "fern", ">second-moss", "<first-moss")
            await server.do("CLIENT", "KILL", "USER", "fern")
            await until_round_trip(made)
            assert StoreFailure.LOGIN not in reported.failures


async def test_database_number_of_the_url_is_used(tmp_path: Path) -> None:
    """Records are in that database."""
    async with redis_server(tmp_path) as server, store(f"{server.url}/3") as (made, _):
        await round_trip(made)
        assert await server.records() == []
        assert b"db3:keys=1" in await server.info("keyspace")


@asynccontextmanager
async def sentinels(
    folder: Path, primary: RedisServer, *, password: str = ""
) -> AsyncIterator[list[RedisServer]]:
    """Start three Sentinels that monitor a primary named ``fleet``."""
    async with AsyncExitStack() as stack:
        started = []
        for number in range(3):
            place = folder / f"sentinel-{number}"
            place.mkdir()
            lines = [
                f"sentinel monitor fleet 127.0.0.1 {primary.port} 2",
                "sentinel down-after-milliseconds fleet 300",
                "sentinel failover-timeout fleet 2000",
                *(
                    [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
                    if password
                    else []
                ),
            ]
            (place / "conf").write_text("\n".join(lines) + "\n")
            server = redis_server(place, "--sentinel", file=place / "conf", password=password)
            started.append(await stack.enter_async_context(server))
        for one in started:
            async with asyncio.timeout(DEADLINE):
                while b"slaves=1,sentinels=3" not in await one.info("sentinel", password):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        yield started


async def test_failover_by_sentinels(tmp_path: Path) -> None:
    """When the primary is killed, its replica is used."""
    async with redis_server(tmp_path / "a") as first, redis_server(tmp_path / "b") as second:
        await second.do("REPLICAOF", "127.0.0.1", str(first.port))
        async with sentinels(tmp_path, first, password="moss") as watching:
            nodes = ",".join(f"127.0.0.1:{one.port}" for one in watching)
            url = f"redis+sentinel://{nodes}/fleet"
            login = StoreLogin("", lambda: "moss")
            async with store(url, sentinel_login=login) as (made, reported):
                await round_trip(made)
                await first.kill(signal.SIGKILL)
                await until_round_trip(made)
                assert b"role:master" in await second.info("replication")
                assert reported.state_changes[-1] is StoreFailure.NONE
    gc.collect()  # as in the test of a cluster


async def test_cluster(tmp_path: Path) -> None:
    """Records are spread over the nodes and found after their slots have moved.

    The user has the permissions of docs/fleet.md.
    """
    flags = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                redis_server(tmp_path / name, *flags, port=free_port(besides=10_000))
            )
            for name in "ab"
        ]
        first, second = nodes
        await first.do("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        await second.do("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        await second.do("CLUSTER", "SET-CONFIG-EPOCH", 2)
        await first.do("CLUSTER", "MEET", "127.0.0.1", second.port)
        for node in nodes:
            async with asyncio.timeout(DEADLINE):
                while b"cluster_state:ok" not in await node.do("CLUSTER", "INFO"):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        page = DOCUMENT.read_text(encoding="utf-8")
        allowed = re.findall(r"\+[a-z|]+", re.findall(r"ACL SETUSER .*", page)[0])
        allowed += re.findall(r"\+[a-z|]+", re.findall(r"A cluster also needs .*", page)[0])
        for node in nodes:
            await node.do("ACL", "SETUSER", "fern", "on", ">moss", "~moss:*", *allowed)
        login = StoreLogin("fern", lambda: "moss")
        async with store(f"redis+cluster://127.0.0.1:{first.port}", login=login) as (made, _):
            await until_round_trip(made)
            names = [f"{number:x}" for number in range(40)]
            seen = await asyncio.gather(*(made.lease(name, owner(), 60, KEYS) for name in names))
            assert all(one.number for one in seen)
            counts = [len(await node.records()) for node in nodes]
            assert sum(counts) == 41
            assert all(counts)
            await move_slot_of(f"moss:{{{names[0]}}}", *nodes)
            assert (await made.read(names[0], KEYS)).lease_left > 0
            await second.kill()
            first_failures = {await failure_of(made, name) for name in names}
            assert first_failures & {StoreFailure.UNREACHABLE, StoreFailure.CIRCUIT_OPEN}
    gc.collect()  # a connection that stayed open reports this as a failure


async def failure_of(made: Store, name: str) -> StoreFailure:
    """Look up a record; return the reason of the failure."""
    try:
        await made.read(name, KEYS)
    except StoreError as error:
        return error.reason
    return StoreFailure.NONE


async def move_slot_of(record: str, *nodes: RedisServer) -> None:
    """Move the slot of a record to the other node."""
    slot = await nodes[0].do("CLUSTER", "KEYSLOT", record)
    source, target = nodes if slot <= 8191 else nodes[::-1]
    ids = [await node.do("CLUSTER", "MYID") for node in (source, target)]
    await target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    await source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    for key in await source.do("CLUSTER", "GETKEYSINSLOT", slot, 10):
        await source.do("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    for node in (target, source):
        await node.do("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
