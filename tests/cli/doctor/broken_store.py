"""Broken set-ups: the token store, on a real server."""

import base64
from typing import Any

from tests.cli.doctor.healthy_setup import (
    DoctorSetup,
    certificate,
    refusing,
    serve_bytes,
    server_context,
)
from tests.cli.doctor.setups import Steps, setup
from tests.support.redis_server import RedisServer, free_port, redis_server


async def started(setup: DoctorSetup, *arguments: str, **more: Any) -> RedisServer:
    """Start a store and configure it."""
    folder = setup.folder / f"store-{free_port()}"
    server = await setup.stack.enter_async_context(redis_server(folder, *arguments, **more))
    use(setup, server)
    return server


def use(setup: DoctorSetup, server: RedisServer | str, **more: str) -> None:
    """Configure a store."""
    url = server if isinstance(server, str) else server.url
    keys = setup.private("encryption-keys", f"k1 {base64.b64encode(bytes(range(32))).decode()}\n")
    setup.set(store={"url": url, "encryption_key_file": keys, "timeout": "10", **more})


@setup
async def closed_store_port(setup: DoctorSetup) -> Steps:
    """Nothing listens there."""
    use(setup, "redis://127.0.0.1:9")
    _ = yield "store-unreachable"
    await started(setup)


@setup
async def store_that_hangs(setup: DoctorSetup) -> Steps:
    """It accepts the connection and does not respond."""
    port = await serve_bytes(b"", setup.stack, hold=True)
    use(setup, f"redis://127.0.0.1:{port}", timeout="0.4")
    _ = yield "store-timeout"
    await started(setup)


@setup
async def store_with_an_unknown_authority(setup: DoctorSetup) -> Steps:
    """Its certificate is not trusted."""
    own = certificate(setup.folder / "store.pem", "127.0.0.1")
    use(setup, f"rediss://127.0.0.1:{refusing(server_context(own), setup.stack)}")
    _ = yield "store-tls"
    await started(setup)


@setup
async def store_that_requires_a_password(setup: DoctorSetup) -> Steps:
    """None is configured."""
    server = await started(setup, password="a-password")
    _ = yield "store-login"
    use(setup, server, password_file=setup.private("store-password", "a-password\n"))


@setup
async def store_with_few_permissions(setup: DoctorSetup) -> Steps:
    """Its user may read only; the remedy is a command for the administrator."""
    server = await started(setup)
    await server.do("ACL", "SETUSER", "proxy", "on", ">a-password", "+@read", "+@connection")
    password = setup.private("store-password", "a-password\n")
    use(setup, server, username="proxy", password_file=password)
    finding = yield "store-forbidden"
    allowed = finding.fix.partition("…")[2].split()
    assert allowed[0] == "~candescent-proxy:*"
    await server.do("ACL", "SETUSER", "proxy", *allowed)


@setup
async def store_that_is_a_replica(setup: DoctorSetup) -> Steps:
    """It is read-only."""
    server = await started(setup)
    await server.do("REPLICAOF", "127.0.0.1", "9")
    await server.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
    _ = yield "store-read-only"
    await server.do("REPLICAOF", "NO", "ONE")


@setup
async def full_store(setup: DoctorSetup) -> Steps:
    """It must not evict anything."""
    server = await started(setup, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
    _ = yield "store-full"
    await server.do("CONFIG", "SET", "maxmemory", "0")
