"""Builds the components of a shared token store.

Imported only if ``store.url`` is set, because it imports ``redis`` and ``cryptography``.
"""

import os
import random
import time
from collections.abc import Callable

from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.runtime import clock
from proxy.telemetry.events import EventSink
from proxy.tokens.cache import TokenCache
from proxy.tokens.credentials import Logins
from proxy.tokens.fleet.clients import StoreLogin, StoreTls, connect
from proxy.tokens.fleet.encryption import EntryCipher, RecordName, read_keys, record_name
from proxy.tokens.fleet.follower import Follower
from proxy.tokens.fleet.lease_policy import CircuitBreaker, LeasePolicy
from proxy.tokens.fleet.source import SharedTokenSource
from proxy.tokens.fleet.store import Store
from proxy.tokens.fleet.store_settings import StoreSettings
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.secret_files import read_lines, read_secret
from proxy.tokens.token import TokenKey, TokenSource
from proxy.upstream.tls import client_context


class Fleet:
    """The shared tokens of one core. Raises ``ConfigError`` for files that cannot be used."""

    def __init__(
        self,
        config: Config,
        logins: Logins,
        refresh: RefreshPolicy,
        emit: EventSink,
    ) -> None:
        check_files(config)
        self._policy = lease_policy(config)
        self._store = store(config, emit)
        self._cipher = entry_cipher(config)
        self._name_for = record_namer(config, logins)
        self._refresh = refresh
        self._emit = emit
        self._sources: list[SharedTokenSource] = []

    def share(self, source: TokenSource) -> SharedTokenSource:
        """Return a source that shares the tokens of ``source``."""
        shared = SharedTokenSource(
            source,
            self._store,
            self._cipher,
            name_for=self._name_for,
            policy=self._policy,
            refresh=self._refresh,
            clock=clock.now,
            chance=random.random,
            emit=self._emit,
        )
        self._sources.append(shared)
        return shared

    def follower(self, shared: SharedTokenSource, cache: TokenCache) -> Follower:
        """Connect shared tokens with the cache around them; return its follower."""
        shared.cached_token = cache.peek
        cache.on_rejected = shared.reject
        return Follower(cache, shared, self._policy, chance=random.random)

    @property
    def is_available(self) -> bool:
        """Whether the last operations on the store succeeded."""
        return not self._store.failure

    @property
    def undecryptable_count(self) -> int:
        """Number of entries, in all records, that cannot be decrypted."""
        return sum(shared.undecryptable_count for shared in self._sources)

    async def close(self) -> None:
        """Cancel running operations and close the store."""
        for shared in self._sources:
            await shared.close()
        await self._store.close()


def lease_policy(config: Config) -> LeasePolicy:
    """Return the lease policy; a caller waits as long as for one call to the bank."""
    settings, keys = config.store, len(config.permitted_institutions)
    return LeasePolicy(
        lease=settings.lease,
        first_lease=min(settings.lease, 2 * settings.timeout),
        max_wait=config.token.timeout,
        probe_every=LeasePolicy.probe_every_for(keys),
        spread=LeasePolicy().spread_for(keys),
        poll_every=settings.follow,
    )


def record_namer(config: Config, logins: Logins) -> Callable[[TokenKey], RecordName | None]:
    """Return the function that names a key's record; it returns None for unshared tokens."""
    known: dict[TokenKey, RecordName | None] = {}

    def name_for(key: TokenKey) -> RecordName | None:
        if key not in known:
            login = logins.for_key(key).for_kind(key.kind)
            shared = login.grant.is_shared
            base_url = config.origin_of(key.institution).base_url
            known[key] = record_name(base_url, key, login) if shared else None
        return known[key]

    return name_for


def entry_cipher(config: Config) -> EntryCipher:
    """Return the cipher of entries. Raises ``ConfigError``."""
    file, setting = config.store.encryption_key_file, "store.encryption_key_file"
    assert file is not None
    try:
        return EntryCipher(read_keys(read_lines(file, setting)), os.urandom)
    except ValueError as error:
        raise ConfigError([f"{setting}: {file}: {error}"]) from None


def check_files(config: Config) -> None:
    """Read the files that are otherwise read on connecting. Raises ``ConfigError``."""
    settings = config.store
    _ = entry_cipher(config)
    # redis-py reads these when it connects.
    _ = client_context(
        settings.ca_file, settings.certificate_file, settings.key_file, section="store"
    )
    for name in ("password_file", "sentinel_password_file"):
        if (file := getattr(settings, name)) is not None:
            _ = read_secret(file, f"store.{name}")


def store(config: Config, emit: EventSink) -> Store:
    """Return the store, not yet connected."""
    settings = config.store
    client = connect(
        settings.address,
        StoreLogin(settings.username or "", _password(settings, "password_file")),
        StoreLogin("", _password(settings, "sentinel_password_file")),
        StoreTls(settings.ca_file, settings.certificate_file, settings.key_file),
        settings.timeout,
    )
    return Store(
        client,
        prefix=settings.prefix,
        deadline=settings.timeout,
        circuit=CircuitBreaker(),
        timer=time.monotonic,
        chance=random.random,
        emit=emit,
    )


def _password(settings: StoreSettings, name: str) -> Callable[[], str] | None:
    file = getattr(settings, name)
    return None if file is None else lambda: read_secret(file, f"store.{name}")
