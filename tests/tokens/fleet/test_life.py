"""Operation of a fleet: rotated secrets, shutdown, and logins of users."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from proxy.runtime.app import App
from proxy.sandbox import Sandbox, changed
from tests.support.mounted_files import write
from tests.support.proxy_fixture import app_from, base
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import until
from tests.support.secret_search import SecretSearch, reprs
from tests.tokens.fleet.encryption_keys import key_line, write_key
from tests.tokens.harness import KEY


@dataclass
class FleetOfProxies:
    """Proxies with one configuration, like the pods of a Deployment."""

    bank: Sandbox
    store: RedisServer
    folder: Path
    apps: list[App]

    @property
    def request_count(self) -> int:
        """The number of token requests at the bank."""
        return len(self.bank.bank.token_requests)

    def texts(self) -> set[str]:
        """The tokens of the proxies."""
        held = [app.tokens.peek(KEY) for app in self.apps]
        return {token.text for token in held if token is not None}

    async def stop(self) -> None:
        """Stop all."""
        while self.apps:
            await self.apps.pop().stop()


@asynccontextmanager
async def fleet_of_proxies(folder: Path, **written: Any) -> AsyncIterator[FleetOfProxies]:
    """Start three, one after another."""
    write(folder / "secret", "sandbox-secret")
    write_key(folder / "keys")
    async with AsyncExitStack() as stack:
        bank = await stack.enter_async_context(Sandbox())
        store = await stack.enter_async_context(redis_server(folder / "redis"))
        settings = {
            **base(bank),
            "client_secret_file": str(folder / "secret"),
            "store": {
                "url": store.url,
                "encryption_key_file": str(folder / "keys"),
                "follow": "0.1",
                "timeout": "3",
            },
            **written,
        }
        write(folder / "proxy.yaml", yaml.safe_dump(settings))
        built = FleetOfProxies(bank, store, folder, [])
        stack.push_async_callback(built.stop)
        for _ in range(3):
            app = app_from(folder / "proxy.yaml")
            await app.start()
            built.apps.append(app)
            await until(lambda app=app: app.readiness().is_ready)  # type: ignore[misc]  # mypy does not infer the type of a default
        yield built


async def test_rotated_secret_is_verified_once(tmp_path: Path) -> None:
    """The first proxy calls the bank; its token verifies the secret for the others."""
    async with fleet_of_proxies(tmp_path) as here:
        assert here.request_count == 1
        before = here.texts()
        clients = {"sandbox-client": "another-secret"}
        here.bank.bank.settings = changed(here.bank.bank.settings, {"clients": clients})
        write(tmp_path / "secret", "another-secret")
        await until(lambda: len(here.texts()) == 1 and here.texts() != before)
        assert here.request_count == 2
        assert len(await here.store.records()) == 2


async def test_wrong_secret_is_refused_once(tmp_path: Path) -> None:
    """The refusal applies to all proxies with the same secret, and nothing changes."""
    async with fleet_of_proxies(tmp_path) as here:
        before = here.texts()
        write(tmp_path / "secret", "a-wrong-secret")
        await until(lambda: all(app.conditions()[0].reason == "reload-failed" for app in here.apps))
        assert here.request_count == 2
        assert here.texts() == before


async def test_encryption_key_rotation_costs_no_token_call(tmp_path: Path) -> None:
    """First all read the new key, then one after another writes it."""
    async with fleet_of_proxies(tmp_path) as here:
        old, new = key_line("k1"), key_line("k2", "fern")
        for lines in ((old, new), (new, old)):
            cores = [app.forwarder for app in here.apps]
            write_key(tmp_path / "keys", *lines)
            await until(
                lambda cores=cores: not {*cores} & {app.forwarder for app in here.apps}  # type: ignore[misc]  # as above
            )
        late = app_from(tmp_path / "proxy.yaml")
        here.apps.append(late)
        await late.start()
        await until(lambda: late.readiness().is_ready)
        assert here.request_count == 1
        assert len(here.texts()) == 1


async def test_shared_token_is_not_revoked_at_shutdown(tmp_path: Path) -> None:
    """Others use it; a token that was fetched directly is revoked."""
    async with fleet_of_proxies(tmp_path, revoke_on_shutdown="true") as here:
        await here.apps.pop().stop()
        await here.apps.pop().stop()
        assert not here.bank.bank.revocations
        await here.store.kill()
        token = here.apps[0].tokens.peek(KEY)
        assert token is not None
        here.apps[0].tokens.drop_rejected(token)
        late = app_from(tmp_path / "proxy.yaml")
        here.apps.append(late)
        await late.start()
        await until(lambda: late.readiness().is_ready)
        its_token = late.tokens.peek(KEY)
        assert its_token is not None
        await here.apps.pop().stop()
        assert list(here.bank.bank.revocations) == [its_token.text]


async def test_tokens_of_a_user_are_not_shared(tmp_path: Path) -> None:
    """Each proxy has its own, with a refresh token for single use."""
    login = {"username": "juniper", "password_file": str(tmp_path / "password")}
    write(tmp_path / "password", "moonlight")
    async with fleet_of_proxies(tmp_path, **login) as here:
        assert here.request_count == 3
        assert await here.store.records() == []


async def test_changed_store_is_applied_without_a_restart(tmp_path: Path) -> None:
    """Current tokens are kept, and the next are shared in the new store."""
    async with fleet_of_proxies(tmp_path) as here, redis_server(tmp_path / "other") as other:
        text = (tmp_path / "proxy.yaml").read_text()
        write(tmp_path / "proxy.yaml", text.replace(here.store.url, other.url))
        await until(lambda: all(app.metrics.store.is_available() for app in here.apps))
        await here.store.kill()
        token = here.apps[0].tokens.peek(KEY)
        assert token is not None
        late = app_from(tmp_path / "proxy.yaml")
        here.apps.append(late)
        await late.start()
        await until(lambda: late.readiness().is_ready)
        assert len(await other.records()) == 1
        await until(lambda: len(here.texts()) == 1)
        assert here.request_count == 2


async def test_repr_shows_no_secret(tmp_path: Path) -> None:
    """No token, encryption key, store password or client secret."""
    password = "moss-of-the-store"
    async with redis_server(tmp_path / "locked", password=password) as locked:
        write(tmp_path / "password", password)
        store = {
            "url": locked.url,
            "encryption_key_file": str(tmp_path / "keys"),
            "password_file": str(tmp_path / "password"),
        }
        async with fleet_of_proxies(tmp_path, store=store) as here:
            watch = SecretSearch()
            watch.secret("password", password)
            watch.secret("client secret", "sandbox-secret")
            watch.secret("encryption key", key_line().split()[1])
            for text in here.texts():
                watch.secret("token", text)
            shown = 0
            for kind, text in reprs(here.apps[0]):
                shown += kind in ("SharedTokenSource", "Store", "EntryCipher", "Follower")
                watch.add(kind, text)
            assert shown == 4
            assert not watch.leaks()
