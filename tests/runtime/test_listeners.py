"""Several listeners of one proxy: each its own institution, user, callers; one bank behind them."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ConfigError
from proxy.sandbox import Sandbox
from proxy.server.address import Address
from tests.support.certificates import Authority
from tests.support.mounted_files import write
from tests.support.proxy_fixture import House, house
from tests.support.raw_client import Answer, Wire, ask, connect, request
from tests.support.running import make_app, running

EVERY_LOOP = True
ANYWHERE = "127.0.0.1:0"
GET = request("GET", "/echo")


class Place:
    """A listener, as something that can be called."""

    def __init__(self, address: Address) -> None:
        self.data_address = address


@asynccontextmanager
async def several(folder: Path, **written: Any) -> AsyncIterator[House]:
    """Run a proxy that is configured by a file, with these settings in it."""
    secret = folder / "client-secret"
    write(secret, "sandbox-secret")
    async with house(folder / "c.yaml", client_secret_file=str(secret), **written) as home:
        yield home


@asynccontextmanager
async def at(home: House, name: str) -> AsyncIterator[Wire]:
    """Connect to a listener of a proxy."""
    async with connect(Place(home.app.addresses[name])) as wire:
        yield wire


async def call(home: House, name: str, data: bytes = GET) -> Answer:
    """Send one request to a listener."""
    return await ask(Place(home.app.addresses[name]), data)


async def test_institutions_and_users(tmp_path: Path) -> None:
    """Each listener calls for its own; they share the tokens and the connections to the bank."""
    listeners = {
        "payroll": {"listen": ANYWHERE, "institution_id": "00017"},
        "teller": {"listen": ANYWHERE, "host_user_id": "880017"},
        "shop": {"listen": ANYWHERE, "login_id": "acorn.owner", "member_number": "12-3456789"},
    }
    async with several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as home:
        assert home.app.addresses.keys() == {"main", *listeners}
        accounts = request("GET", "/v1/accounts")
        for name in ("main", *listeners):
            assert (await call(home, name, accounts)).status == 200
        seen = [
            (arrival.header("institutionId"), arrival.target)
            for arrival in home.bank.bank.arrivals
            if "institution-users" not in arrival.target
        ]
        assert seen == [
            ("00016", "/v1/accounts"),
            ("00017", "/v1/accounts"),
            ("00016", "/v1/accounts?hostUserId=880017"),
            ("00016", "/v1/accounts?loginId=acorn.owner&institutionCustomerId=770001"),
        ]
        institutions = [asked.institution for asked in home.bank.bank.token_requests]
        assert sorted(institutions) == ["00016", "00017"]
        assert home.app.pool.opened_count == 1


async def test_other_institution_is_refused_where_it_is_not_allowed(tmp_path: Path) -> None:
    """What one listener may ask for is not another's."""
    listeners = {"payroll": {"listen": ANYWHERE, "institution_id": "00017"}}
    async with several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as home:
        other = request("GET", "/echo", "institutionId: 00016")
        assert (await call(home, "payroll", other)).error == "institution"
        assert (await call(home, "main", other)).status == 200
        both = request("GET", "/echo", "institutionId: 00017")
        assert (await call(home, "payroll", both)).status == 200
        assert (await call(home, "main", both)).status == 200


async def test_tokens_are_there_before_the_first_request(tmp_path: Path) -> None:
    """Of every listener's institution; until then the proxy is not ready."""
    listeners = {"payroll": {"listen": ANYWHERE, "institution_id": "00017"}}
    async with several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as home:
        asked = [request.institution for request in home.bank.bank.token_requests]
        assert sorted(asked) == ["00016", "00017"]


async def test_callers_and_policies(tmp_path: Path) -> None:
    """One listener asks for a secret and allows little, the other neither."""
    secret = tmp_path / "secret"
    secret.write_text("open-sesame")
    listeners = {
        "guarded": {
            "listen": ANYWHERE,
            "callers": {"secret_files": [str(secret)]},
            "access": {"allow": ["/v1/accounts"]},
        }
    }
    async with several(tmp_path, listeners=listeners) as home:
        assert (await call(home, "guarded")).error == "caller"
        shown = "Proxy-Authorization: Bearer open-sesame"
        assert (await call(home, "guarded", request("GET", "/echo", shown))).error == "path-policy"
        allowed = request("GET", "/v1/accounts", shown)
        assert (await call(home, "guarded", allowed)).status == 200
        assert (await call(home, "main")).status == 200


async def test_records_name_the_listener(tmp_path: Path) -> None:
    """In the log, where it is not the main one."""
    listeners = {"payroll": {"listen": ANYWHERE}}
    async with several(tmp_path, listeners=listeners) as home:
        await call(home, "payroll")
        await call(home, "main")
        await call(home, "payroll", b"nonsense\r\n\r\n")
        lines = home.book.lines("request")
        assert [line.get("listener") for line in lines] == ["payroll", None, "payroll"]


async def test_links_and_public_url(tmp_path: Path) -> None:
    """Are a listener's own."""
    listeners = {
        "web": {"listen": ANYWHERE, "rewrite_links": "true", "public_url": "https://web.test"}
    }
    async with several(tmp_path, listeners=listeners) as home:
        page = request("GET", "/v1/transactions?accountId=1", host="web.test")
        assert (
            (await call(home, "web", page))
            .json()["links"][0]["href"]
            .startswith("https://web.test/v1/")
        )
        assert (await call(home, "main", page)).json()["links"][0]["href"].startswith(home.bank.url)


async def test_limits_are_each_listener_s_own(tmp_path: Path) -> None:
    """One application that takes up all it may leaves another's room alone."""
    listeners = {"payroll": {"listen": ANYWHERE}}
    limits = {"max_connections": "2"}
    async with several(tmp_path, listeners=listeners, limits=limits) as home:
        async with at(home, "main") as one, at(home, "main") as two, at(home, "payroll") as other:
            for wire in (one, two, other):
                assert (await wire.ask(GET)).status == 200
            assert home.app.connection_count == 3
            async with at(home, "main") as third:
                assert (await third.ask(GET)).status == 200
                assert await one.ends() == b""
            assert (await other.ask(GET)).status == 200
        warned = [line["event"] for line in home.book.lines() if "as may be" in line["event"]]
        assert warned == ["as many callers as may be (2); others are refused"]


async def test_unix_socket_beside_a_port(tmp_path: Path) -> None:
    """Each listener on what its application knows."""
    path = tmp_path / "payroll.sock"
    listeners = {"payroll": {"listen": f"unix:{path}", "callers": {"socket_mode": "660"}}}
    async with several(tmp_path, listeners=listeners) as home:
        assert str(home.app.addresses["payroll"]) == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o660
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(GET)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        assert (await call(home, "main")).status == 200


async def test_port_in_use_leaves_nothing_open() -> None:
    """Which listener it is of, and the listeners before it are closed again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:" + str(taken.getsockname()[1])
        listeners = {"payroll": {"listen": address}, "other": {"listen": ANYWHERE}}
        app = make_app("http://127.0.0.1:9", listeners=listeners)
        with pytest.raises(ConfigError) as caught:
            await app.start()
        (mistake,) = caught.value.errors
        assert mistake.startswith(f"listeners.payroll.listen: cannot listen on {address} (")
        assert mistake.endswith("; choose another")
        with pytest.raises(OSError, match=r"."):
            socket.create_connection(("127.0.0.1", app.data_address.port), timeout=1)


async def test_stop_ends_all(tmp_path: Path) -> None:
    """Every listener is closed, and whoever is idle on one is let go."""
    async with Sandbox() as bank:
        async with running(bank, listeners={"payroll": {"listen": ANYWHERE}}) as app:
            place = Place(app.addresses["payroll"])
            async with connect(place) as wire:
                assert (await wire.ask(GET)).status == 200
                await app.stop()
                assert await wire.ends() == b""
        with pytest.raises(OSError, match=r"."):
            socket.create_connection(("127.0.0.1", place.data_address.port), timeout=1)


# Changed while it runs.


async def test_changed_listener_is_taken(tmp_path: Path) -> None:
    """Its institution, user and policy, on the connections that are open too."""
    listeners: dict[str, Any] = {"payroll": {"listen": ANYWHERE}}
    async with (
        several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as home,
        at(home, "payroll") as wire,
    ):
        assert (await wire.ask(GET)).json()["institution"] == "00016"
        changed = {"listen": ANYWHERE, "institution_id": "00017", "access": {"allow": ["/echo"]}}
        home.write(listeners={"payroll": changed})
        await home.taken()
        assert (await wire.ask(GET)).json()["institution"] == "00017"
        assert (await wire.ask(request("GET", "/v1/accounts"))).error == "path-policy"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"payroll": {"listen": "127.0.0.1:9"}}, "listeners.payroll.listen: changed"),
        ({}, "listeners.payroll: came or went"),
        (
            {"payroll": {"listen": ANYWHERE}, "other": {"listen": ANYWHERE}},
            "listeners.other: came or went",
        ),
        (
            {"payroll": {"listen": ANYWHERE, "callers": {"socket_mode": "660"}}},
            "listeners.payroll.callers.socket_mode: changed",
        ),
    ],
)
async def test_change_that_wants_a_restart(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    """Is told, and nothing of it is taken."""
    listeners = {"payroll": {"listen": ANYWHERE}}
    async with several(tmp_path, listeners=listeners) as home:
        home.write(listeners=changed)
        await home.refused()
        assert any(says in warning for warning in home.warnings())
        assert (await call(home, "payroll")).status == 200


async def test_certificate_of_a_listener(tmp_path: Path) -> None:
    """One listener speaks TLS and takes its new certificate; the other does neither."""
    authority, ours = Authority.make(tmp_path), tmp_path / "port.pem"
    names = [authority.issue(name, "IP:127.0.0.1", file=name) for name in ("old", "new")]
    shutil.copy(names[0], ours)
    listeners = {"payroll": {"listen": ANYWHERE, "callers": {"certificate_file": str(ours)}}}
    context = ssl.create_default_context(cafile=authority.file)
    async with several(tmp_path, listeners=listeners) as home:
        address = home.app.addresses["payroll"]
        assert (await call(home, "main")).status == 200
        assert await shown(address, context) == "old"
        shutil.copy(names[1], ours)
        await home.taken()
        assert await shown(address, context) == "new"
        assert (await call(home, "main")).status == 200


async def shown(address: Address, context: ssl.SSLContext) -> str:
    """Return the common name of what a listener shows, over a request."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        writer.write(GET)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        certificate = writer.get_extra_info("peercert")
        return str(dict(pair[0] for pair in certificate["subject"])["commonName"])
    finally:
        writer.close()
