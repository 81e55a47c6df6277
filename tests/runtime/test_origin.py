"""One proxy, two banks, three institutions and two users: failures and tokens stay apart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from proxy.sandbox import Bank, Fault, Sandbox, Settings
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.proxy_fixture import QUICK, ProxyFixture, proxy_fixture, sample
from tests.support.redis_server import redis_server
from tests.support.running import until

USERS = {"alice": ("juniper", "moonlight"), "bob": ("acorn", "lanterns")}
"""Listeners with a login of their own: user name and password at the first bank."""

IN_FLIGHT = 40
"""Limit of requests in flight."""


@dataclass
class TwoBanks:
    """Institutions 00016 and 00017 live at ``first``, 00018 at ``second``, which speaks TLS."""

    proxy: ProxyFixture
    first: Sandbox
    second: Sandbox
    certificates: tuple[Path, Path]
    session: aiohttp.ClientSession
    statuses: list[int] = field(default_factory=list)

    async def get(self, who: str, institution: str = "", **more: Any) -> int:
        """Call through a listener; the caller's name is in the query. Return the status."""
        address = self.proxy.app.addresses[who if who in USERS else "main"]
        headers = {"institutionId": institution} if institution else {}
        url = f"http://{address}/echo?who={who}"
        async with self.session.get(url, headers=headers, **more) as response:
            await response.read()
            return response.status

    async def others(self, rounds: int = 5) -> list[int]:
        """Call everything but the second bank, concurrently; return the statuses."""
        found: list[int] = []
        for _ in range(rounds):
            found += await asyncio.gather(
                *(self.get("main") for _ in range(4)),
                *(self.get("main", "00017") for _ in range(4)),
                *(self.get(user) for user in USERS for _ in range(4)),
            )
        return found

    async def restart_second(self, certificate: Path) -> None:
        """Restart the second bank on its port with this certificate."""
        port = urlsplit(self.second.url).port
        assert port is not None
        await self.second.stop()
        await self.second.start(port=port, ssl_context=server_context(certificate))


@asynccontextmanager
async def two_banks(folder: Path, **more: Any) -> AsyncIterator[TwoBanks]:
    """Start both banks and the proxy."""
    authority, stranger = OpensslAuthority.make(folder), OpensslAuthority.make(folder, "stranger")
    good = authority.issue("bank", "IP:127.0.0.1", file="good")
    bad = stranger.issue("bank", "IP:127.0.0.1", file="bad")
    second = Sandbox(Settings(clients={"second-client": "second-secret"}))
    await second.start(ssl_context=server_context(good))
    secret = folder / "secret"
    secret.write_text("second-secret\n")
    for user, (_, password) in USERS.items():
        (folder / user).write_text(f"{password}\n")
    (folder / "client").write_text("sandbox-secret\n")
    settings: dict[str, Any] = {
        "client_secret_file": str(folder / "client"),
        "allowed_institutions": ["00017"],
        "limits": {"max_in_flight": IN_FLIGHT},
        "institutions": {
            "00018": {
                "base_url": second.url,
                "client_id": "second-client",
                "client_secret_file": str(secret),
                "upstream": {"ca_file": str(authority.file), "max_connections": "8"},
            }
        },
        "listeners": {
            user: {
                "listen": "127.0.0.1:0",
                "username": name,
                "password_file": str(folder / user),
            }
            for user, (name, _) in USERS.items()
        },
        **more,
    }
    try:
        async with (
            Sandbox() as first,
            proxy_fixture(folder / "proxy.yaml", first, **settings) as proxy,
            aiohttp.ClientSession() as session,
        ):
            yield TwoBanks(proxy, first, second, (good, bad), session)
    finally:
        await second.stop()


def assert_tokens_stay(first: Bank, second: Bank) -> None:
    """Each bank received its own tokens and credentials only, each user their own token."""
    for bank, other in ((first, second), (second, first)):
        for arrival in bank.arrivals:
            text = (arrival.header("Authorization") or "").removeprefix("Bearer ")
            assert text in bank.tokens
            assert text not in other.tokens
            token, who = bank.tokens[text], arrival.target.rpartition("who=")[2]
            assert token.institution == arrival.header("institutionId")
            assert (token.user.username if token.user else "") == USERS.get(who, ("",))[0]
        assert {request.client for request in bank.token_requests} <= {*bank.settings.clients}


Trouble = Callable[[TwoBanks], None]
TROUBLES: dict[str, Trouble] = {
    "hang": lambda here: here.second.bank.faults.append(Fault("any", hang=True)),
    "reset": lambda here: here.second.bank.faults.append(Fault("any", reset=True)),
    "unavailable": lambda here: here.second.bank.faults.append(Fault("any", status=503)),
    "quota": lambda here: here.second.bank.faults.append(Fault("token", code="CMN_90002")),
    "tls": lambda _here: None,
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_at_one_origin_leaves_the_others_alone(tmp_path: Path, trouble: str) -> None:
    """Every other institution and user gets a 200, while all its requests fail or hang."""
    async with two_banks(tmp_path) as here:
        assert await here.get("main", "00018") == 200
        assert set(await here.others(1)) == {200}
        here.second.bank.expire_all()
        TROUBLES[trouble](here)
        if trouble == "tls":
            await here.restart_second(here.certificates[1])
        troubled = [asyncio.ensure_future(here.get("main", "00018")) for _ in range(2 * IN_FLIGHT)]
        try:
            assert set(await here.others()) == {200}
            if trouble != "hang":
                assert 200 not in await asyncio.gather(*troubled)
            assert set(await here.others()) == {200}
        finally:
            for call in troubled:
                call.cancel()
            await asyncio.gather(*troubled, return_exceptions=True)
        assert_tokens_stay(here.first.bank, here.second.bank)


async def test_tokens_go_to_their_own_origin_under_load(tmp_path: Path) -> None:
    """Also while tokens are refused and fetched again, at both banks."""
    async with two_banks(tmp_path, token={"min_interval": "10ms"}) as here:
        for _ in range(10):
            calls = [here.others(1), *(here.get("main", "00018") for _ in range(12))]
            await asyncio.gather(*calls)
            for bank in (here.first.bank, here.second.bank):
                bank.expire_all()
        assert_tokens_stay(here.first.bank, here.second.bank)
        assert len(here.second.bank.arrivals) > 100


async def test_users_share_no_token_through_a_store(tmp_path: Path) -> None:
    """With a store only the application's tokens are in it, and two proxies mix up no user."""
    key = tmp_path / "key"
    key.write_text("k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    async with redis_server(tmp_path / "redis") as redis:
        store = {"url": redis.url, "encryption_key_file": str(key)}
        async with two_banks(tmp_path, store=store) as here:
            another = tmp_path / "another.yaml"
            async with proxy_fixture(another, here.first, **here.proxy.settings) as proxy:
                second = TwoBanks(proxy, here.first, here.second, here.certificates, here.session)
                for _ in range(5):
                    await asyncio.gather(*(one.others(1) for one in (here, second)))
                    here.first.bank.expire_all()
                assert await second.get("main", "00018") == 200
            assert_tokens_stay(here.first.bank, here.second.bank)
            # V2 of 00016, 00017 and 00018; none of a user.
            assert len(await redis.records()) == 3


async def test_origin_is_added_changed_and_removed_by_a_reload(tmp_path: Path) -> None:
    """A request in flight finishes at its old address, whose idle connections close."""
    async with two_banks(tmp_path, reload_interval=QUICK) as here:
        assert await here.get("main", "00018") == 200
        fault = Fault("resource", delay=2.0, times=1)
        here.second.bank.faults.append(fault)
        slow = asyncio.ensure_future(here.get("main", "00018"))
        await until(lambda: fault.used)
        kept = here.proxy.settings["institutions"]
        here.proxy.write(institutions={"00018": {}})
        await here.proxy.wait_for_reload()
        arrived = len(here.second.bank.arrivals)
        assert await here.get("main", "00018") == 200
        assert len(here.second.bank.arrivals) == arrived
        assert await slow == 200
        await until(lambda: not here.second.connections)
        here.proxy.write(institutions=kept)
        await here.proxy.wait_for_reload(2)
        assert await here.get("main", "00018") == 200
        assert len(here.second.bank.arrivals) == arrived + 1
        assert_tokens_stay(here.first.bank, here.second.bank)


async def test_links_of_each_origin_lead_through_the_proxy(tmp_path: Path) -> None:
    """``Location`` and JSON links of the second bank too; those of the first stay there."""
    async with two_banks(tmp_path, rewrite_links=True) as here:
        proxy = f"http://{here.proxy.app.data_address}"
        for institution, own, other in (
            ("00018", here.second.url, here.first.url),
            ("00016", here.first.url, here.second.url),
        ):
            bank = here.second.bank if institution == "00018" else here.first.bank
            body = b'{"own":"%b/a","other":"%b/b"}' % (own.encode(), other.encode())
            headers = {"Location": f"{own}/c", "Content-Type": "application/json"}
            bank.faults.append(Fault("resource", status=201, shape=body, headers=headers))
            async with here.session.get(
                f"{proxy}/echo", headers={"institutionId": institution}
            ) as response:
                links = await response.json(content_type=None)
                assert response.headers["Location"] == f"{proxy}/c"
            assert links == {"own": f"{proxy}/a", "other": f"{other}/b"}


async def test_metrics_know_origin_and_login(tmp_path: Path) -> None:
    """Pools have the base URL, tokens of a listener's own login its name."""
    async with two_banks(tmp_path) as here:
        await here.others(1)
        await here.get("main", "00018")
        app, name = here.proxy.app, "candescent_proxy_upstream_connections"
        assert sample(app, f"{name}_limit", origin=here.second.url) == 8
        assert sample(app, f"{name}_limit", origin=here.first.url) == 128
        assert sample(app, f"{name}_opened_total", origin=here.second.url) == 1
        for login, count in (("alice", 1), ("bob", 1), ("", 2)):
            found = sample(app, "candescent_proxy_token_refreshes_total", login=login, kind="v2")
            assert found == count + (login == "")
