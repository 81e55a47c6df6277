"""Several listeners of one proxy: each has its institution, user and callers; they share a bank."""

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
from tests.support.certificates import OpensslAuthority
from tests.support.mounted_files import write
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture
from tests.support.raw_client import RawConnection, RawResponse, ask, connect, request
from tests.support.running import make_app, running

EVERY_LOOP = True
ANYWHERE = "127.0.0.1:0"
GET = request("GET", "/echo")


class ListenerAddress:
    """The address of a listener, to connect to."""

    def __init__(self, address: Address) -> None:
        self.data_address = address


@asynccontextmanager
async def several(folder: Path, **written: Any) -> AsyncIterator[ProxyFixture]:
    """Run a proxy with these settings in its configuration file."""
    secret = folder / "client-secret"
    write(secret, "sandbox-secret")
    async with proxy_fixture(
        folder / "c.yaml", client_secret_file=str(secret), **written
    ) as fixture:
        yield fixture


@asynccontextmanager
async def connect_to(fixture: ProxyFixture, name: str) -> AsyncIterator[RawConnection]:
    """Connect to a listener of a proxy."""
    async with connect(ListenerAddress(fixture.app.addresses[name])) as wire:
        yield wire


async def call(fixture: ProxyFixture, name: str, data: bytes = GET) -> RawResponse:
    """Send one request to a listener."""
    return await ask(ListenerAddress(fixture.app.addresses[name]), data)


async def test_listeners_have_institutions_and_users(tmp_path: Path) -> None:
    """They share tokens and upstream connections."""
    listeners = {
        "payroll": {"listen": ANYWHERE, "institution_id": "00017"},
        "kiosk": {"listen": ANYWHERE, "host_user_id": "880017"},
        "shop": {"listen": ANYWHERE, "login_id": "acorn.owner", "member_number": "12-3456789"},
    }
    async with several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as fixture:
        assert fixture.app.addresses.keys() == {"main", *listeners}
        accounts = request("GET", "/v1/accounts")
        for name in ("main", *listeners):
            assert (await call(fixture, name, accounts)).status == 200
        seen = [
            (arrival.header("institutionId"), arrival.target)
            for arrival in fixture.bank.bank.arrivals
            if "institution-users" not in arrival.target
        ]
        assert seen == [
            ("00016", "/v1/accounts"),
            ("00017", "/v1/accounts"),
            ("00016", "/v1/accounts?hostUserId=880017"),
            ("00016", "/v1/accounts?loginId=acorn.owner&institutionCustomerId=770001"),
        ]
        institutions = [asked.institution for asked in fixture.bank.bank.token_requests]
        assert sorted(institutions) == ["00016", "00017"]
        assert fixture.app.pool.opened_count == 1


async def test_institution_is_allowed_per_listener(tmp_path: Path) -> None:
    """An institution of one listener is refused on another."""
    listeners = {"payroll": {"listen": ANYWHERE, "institution_id": "00017"}}
    async with several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as fixture:
        other = request("GET", "/echo", "institutionId: 00016")
        assert (await call(fixture, "payroll", other)).error == "institution-not-allowed"
        assert (await call(fixture, "main", other)).status == 200
        both = request("GET", "/echo", "institutionId: 00017")
        assert (await call(fixture, "payroll", both)).status == 200
        assert (await call(fixture, "main", both)).status == 200


async def test_tokens_of_all_listeners_precede_readiness(tmp_path: Path) -> None:
    """The proxy is ready when every listener's institution has a token."""
    listeners = {"payroll": {"listen": ANYWHERE, "institution_id": "00017"}}
    async with several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as fixture:
        asked = [request.institution for request in fixture.bank.bank.token_requests]
        assert sorted(asked) == ["00016", "00017"]


async def test_listeners_have_callers_and_policies(tmp_path: Path) -> None:
    """One listener requires a secret and restricts paths, the other does not."""
    secret = tmp_path / "secret"
    secret.write_text("open-sesame")
    listeners = {
        "guarded": {
            "listen": ANYWHERE,
            "callers": {"secret_files": [str(secret)]},
            "access": {"allow": ["/v1/accounts"]},
        }
    }
    async with several(tmp_path, listeners=listeners) as fixture:
        assert (await call(fixture, "guarded")).error == "caller-secret"
        shown_name = "Proxy-Authorization: Bearer open-sesame"
        assert (
            await call(fixture, "guarded", request("GET", "/echo", shown_name))
        ).error == "path-policy"
        allowed = request("GET", "/v1/accounts", shown_name)
        assert (await call(fixture, "guarded", allowed)).status == 200
        assert (await call(fixture, "main")).status == 200


async def test_access_log_names_the_listener(tmp_path: Path) -> None:
    """Except for the main one."""
    listeners = {"payroll": {"listen": ANYWHERE}}
    async with several(tmp_path, listeners=listeners) as fixture:
        await call(fixture, "payroll")
        await call(fixture, "main")
        await call(fixture, "payroll", b"nonsense\r\n\r\n")
        lines = fixture.log.lines("request")
        assert [line.get("listener") for line in lines] == ["payroll", None, "payroll"]


async def test_listeners_have_links_and_public_url(tmp_path: Path) -> None:
    """Each listener has its own settings of both."""
    listeners = {
        "web": {"listen": ANYWHERE, "rewrite_links": "true", "public_url": "https://web.test"}
    }
    async with several(tmp_path, listeners=listeners) as fixture:
        page = request("GET", "/v1/transactions?accountId=1", host="web.test")
        assert (
            (await call(fixture, "web", page))
            .json()["links"][0]["href"]
            .startswith("https://web.test/v1/")
        )
        assert (
            (await call(fixture, "main", page))
            .json()["links"][0]["href"]
            .startswith(fixture.bank.url)
        )


async def test_listeners_have_separate_limits(tmp_path: Path) -> None:
    """An application at its limit does not affect another."""
    listeners = {"payroll": {"listen": ANYWHERE}}
    limits = {"max_connections": "2"}
    async with several(tmp_path, listeners=listeners, limits=limits) as fixture:
        async with (
            connect_to(fixture, "main") as one,
            connect_to(fixture, "main") as two,
            connect_to(fixture, "payroll") as other,
        ):
            for wire in (one, two, other):
                assert (await wire.ask(GET)).status == 200
            assert fixture.app.connection_count == 3
            async with connect_to(fixture, "main") as third:
                assert (await third.ask(GET)).status == 200
                assert await one.read_to_end() == b""
            assert (await other.ask(GET)).status == 200
        warned = [line["event"] for line in fixture.log.lines() if "as may be" in line["event"]]
        assert warned == ["as many callers as may be; others are refused (2)"]


async def test_unix_socket_beside_a_port(tmp_path: Path) -> None:
    """Listeners may have different kinds of addresses."""
    path = tmp_path / "payroll.sock"
    listeners = {"payroll": {"listen": f"unix:{path}", "callers": {"socket_mode": "660"}}}
    async with several(tmp_path, listeners=listeners) as fixture:
        assert str(fixture.app.addresses["payroll"]) == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o660
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(GET)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        assert (await call(fixture, "main")).status == 200


async def test_port_in_use_closes_all_listeners() -> None:
    """The error names the listener, and the others are closed."""
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


async def test_stop_closes_all_listeners(tmp_path: Path) -> None:
    """Idle connections are closed too."""
    async with Sandbox() as bank:
        async with running(bank, listeners={"payroll": {"listen": ANYWHERE}}) as app:
            place = ListenerAddress(app.addresses["payroll"])
            async with connect(place) as wire:
                assert (await wire.ask(GET)).status == 200
                await app.stop()
                assert await wire.read_to_end() == b""
        with pytest.raises(OSError, match=r"."):
            socket.create_connection(("127.0.0.1", place.data_address.port), timeout=1)


# Reload.


async def test_changed_listener_is_applied(tmp_path: Path) -> None:
    """Institution, user and policy change on open connections too."""
    listeners: dict[str, Any] = {"payroll": {"listen": ANYWHERE}}
    async with (
        several(tmp_path, allowed_institutions=["00017"], listeners=listeners) as fixture,
        connect_to(fixture, "payroll") as wire,
    ):
        assert (await wire.ask(GET)).json()["institution"] == "00016"
        changed = {"listen": ANYWHERE, "institution_id": "00017", "access": {"allow": ["/echo"]}}
        fixture.write(listeners={"payroll": changed})
        await fixture.wait_for_reload()
        assert (await wire.ask(GET)).json()["institution"] == "00017"
        assert (await wire.ask(request("GET", "/v1/accounts"))).error == "path-policy"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"payroll": {"listen": "127.0.0.1:9"}}, "listeners.payroll.listen: changed"),
        ({}, "listeners.payroll: added or removed"),
        (
            {"payroll": {"listen": ANYWHERE}, "other": {"listen": ANYWHERE}},
            "listeners.other: added or removed",
        ),
        (
            {"payroll": {"listen": ANYWHERE, "callers": {"socket_mode": "660"}}},
            "listeners.payroll.callers.socket_mode: changed",
        ),
    ],
)
async def test_change_that_needs_a_restart_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    """It is reported, and nothing is applied."""
    listeners = {"payroll": {"listen": ANYWHERE}}
    async with several(tmp_path, listeners=listeners) as fixture:
        fixture.write(listeners=changed)
        await fixture.wait_for_failed_reload()
        assert any(message in warning for warning in fixture.warnings())
        assert (await call(fixture, "payroll")).status == 200


async def test_certificate_of_a_listener_is_reloaded(tmp_path: Path) -> None:
    """The other listener has no TLS."""
    authority, ours = OpensslAuthority.make(tmp_path), tmp_path / "port.pem"
    names = [authority.issue(name, "IP:127.0.0.1", file=name) for name in ("old", "new")]
    shutil.copy(names[0], ours)
    listeners = {"payroll": {"listen": ANYWHERE, "callers": {"certificate_file": str(ours)}}}
    context = ssl.create_default_context(cafile=authority.file)
    async with several(tmp_path, listeners=listeners) as fixture:
        address = fixture.app.addresses["payroll"]
        assert (await call(fixture, "main")).status == 200
        assert await shown_name(address, context) == "old"
        shutil.copy(names[1], ours)
        await fixture.wait_for_reload()
        assert await shown_name(address, context) == "new"
        assert (await call(fixture, "main")).status == 200


async def shown_name(address: Address, context: ssl.SSLContext) -> str:
    """Return the common name of the listener's certificate."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        writer.write(GET)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        certificate = writer.get_extra_info("peercert")
        return str(dict(pair[0] for pair in certificate["subject"])["commonName"])
    finally:
        writer.close()
