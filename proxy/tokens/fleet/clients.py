"""Clients of the store: one server, the primary behind Sentinels, or a cluster.

Importing this module imports ``redis``, so it is imported only if a store is configured.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from proxy.tokens.fleet.store import Client
from proxy.tokens.fleet.url import StoreKind, StoreUrl

MAX_CONNECTIONS = 32
"""More than ``store.MAX_CONCURRENT``, because connections of cancelled operations close late."""


@dataclass(frozen=True, slots=True)
class StoreLogin:
    """Credentials for the store. ``password`` is called for each new connection."""

    user: str = ""
    password: Callable[[], str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StoreTls:
    """PEM files: trusted authorities (the system's if None), client certificate and key."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class _PasswordProvider(CredentialProvider):
    """Reads the password file for each new connection."""

    def __init__(self, login: StoreLogin) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._login.password() if self._login.password else ""
        return (self._login.user, password) if self._login.user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


class _Cluster:
    """A cluster. It closes all nodes: redis-py leaves connections open after one has failed."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster

    async def execute_command(self, *args: Any) -> Any:
        """Run a command on the node that has the record."""
        return await self._cluster.execute_command(*args)

    async def aclose(self) -> None:
        """Close the connections."""
        nodes: Any = self._cluster.nodes_manager  # the library has no types here
        closing = (self._cluster.aclose(), nodes.aclose(), nodes.aclose("startup_nodes"))
        _ = await asyncio.gather(*closing, return_exceptions=True)


class _SentinelPrimary:
    """The primary behind Sentinels. It is closed together with the connections to them."""

    def __init__(self, sentinels: Any, name: str) -> None:
        self._sentinels = sentinels
        self._primary: Client = sentinels.master_for(name)

    async def execute_command(self, *args: Any) -> Any:
        """Run a command on the primary."""
        return await self._primary.execute_command(*args)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._primary.aclose()
        await self._sentinels.aclose()


def connect(
    url: StoreUrl, login: StoreLogin, sentinel_login: StoreLogin, tls: StoreTls, deadline: float
) -> Client:
    """Return a client that connects on first use and never retries.

    ``deadline`` (seconds) applies to connecting and to each reply.
    """
    common: dict[str, Any] = {
        "socket_timeout": deadline,
        "socket_connect_timeout": deadline,
        "max_connections": MAX_CONNECTIONS,
        "protocol": 2,
        "driver_info": None,  # else each connection would send CLIENT SETINFO, which ACLs may deny
        **_tls_options(url, tls),
    }
    known: dict[str, Any] = {}
    if login.user or login.password:
        known["credential_provider"] = _PasswordProvider(login)
    if url.kind is StoreKind.CLUSTER:
        nodes = [ClusterNode(host, port) for host, port in url.nodes]
        return _Cluster(RedisCluster(startup_nodes=nodes, retry=_no_retry(), **common, **known))
    common["retry"] = _no_retry()
    if url.kind is StoreKind.SENTINEL:
        options = dict(common)
        if sentinel_login.user or sentinel_login.password:
            options["credential_provider"] = _PasswordProvider(sentinel_login)
        make: Any = Sentinel  # the library has no types here
        sentinels = make(url.nodes, sentinel_kwargs=options, **common, **known, db=url.database)
        return _SentinelPrimary(sentinels, url.primary)
    host, port = url.nodes[0]
    return Redis(host=host, port=port, db=url.database, **common, **known)


def _no_retry() -> Retry:
    return Retry(NoBackoff(), 0)


def _tls_options(url: StoreUrl, tls: StoreTls) -> dict[str, Any]:
    if not url.tls:
        return {}
    files = {
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.certificate_file,
        "ssl_keyfile": tls.key_file,
    }
    return {"ssl": True} | {name: str(file) for name, file in files.items() if file is not None}
