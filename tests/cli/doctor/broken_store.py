"""Broken set-ups: the store of a fleet, a real one each time."""

import base64
from typing import Any

from tests.cli.doctor.healthy_setup import World, certificate, refusing, saying, shown
from tests.cli.doctor.setups import Steps, setup
from tests.support.redis_server import RedisServer, free_port, redis_server


async def started(world: World, *arguments: str, **more: Any) -> RedisServer:
    """Start a store, and let the set-up use it."""
    folder = world.folder / f"store-{free_port()}"
    server = await world.stack.enter_async_context(redis_server(folder, *arguments, **more))
    use(world, server)
    return server


def use(world: World, server: RedisServer | str, **more: str) -> None:
    """Let the set-up use a store."""
    url = server if isinstance(server, str) else server.url
    keys = world.private("sealing-keys", f"k1 {base64.b64encode(bytes(range(32))).decode()}\n")
    world.set(store={"url": url, "encryption_key_file": keys, "timeout": "10", **more})


@setup
async def store_that_is_down(world: World) -> Steps:
    """Nothing listens there."""
    use(world, "redis://127.0.0.1:9")
    _ = yield "store-unreachable"
    await started(world)


@setup
async def store_that_hangs(world: World) -> Steps:
    """It takes the connection and says nothing."""
    port = await saying(b"", world.stack, hold=True)
    use(world, f"redis://127.0.0.1:{port}", timeout="0.4")
    _ = yield "store-timeout"
    await started(world)


@setup
async def store_that_nobody_vouches_for(world: World) -> Steps:
    """Its certificate is of no authority that is known here."""
    own = certificate(world.folder / "store.pem", "127.0.0.1")
    use(world, f"rediss://127.0.0.1:{refusing(shown(own), world.stack)}")
    _ = yield "store-tls"
    await started(world)


@setup
async def store_that_wants_a_password(world: World) -> Steps:
    """Nobody has told us one."""
    server = await started(world, password="a-password")
    _ = yield "store-login"
    use(world, server, password_file=world.private("store-password", "a-password\n"))


@setup
async def store_that_allows_too_little(world: World) -> Steps:
    """Its user may read, and run nothing; the cure is the command for its administrator."""
    server = await started(world)
    await server.do("ACL", "SETUSER", "proxy", "on", ">a-password", "+@read", "+@connection")
    password = world.private("store-password", "a-password\n")
    use(world, server, username="proxy", password_file=password)
    finding = yield "store-forbidden"
    allowed = finding.cure.partition("…")[2].split()
    assert allowed[0] == "~candescent-proxy:*"
    await server.do("ACL", "SETUSER", "proxy", *allowed)


@setup
async def store_that_is_a_replica(world: World) -> Steps:
    """It follows another, and takes nothing itself."""
    server = await started(world)
    await server.do("REPLICAOF", "127.0.0.1", "9")
    await server.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
    _ = yield "store-read-only"
    await server.do("REPLICAOF", "NO", "ONE")


@setup
async def store_that_is_full(world: World) -> Steps:
    """It may hold nothing more, and may let nothing go."""
    server = await started(world, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
    _ = yield "store-full"
    await server.do("CONFIG", "SET", "maxmemory", "0")
