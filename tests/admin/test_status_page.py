"""The status page over sockets: access, headers, and its JSON."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.admin.document import Status
from proxy.admin.status_page import FILES
from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from tests.support.running import running, until, url

EVERYWHERE = "0.0.0.0:0"
PATHS = [*FILES, "/api/status"]


@asynccontextmanager
async def reached_by(app: App, host: str = "127.0.0.1") -> AsyncIterator[aiohttp.ClientSession]:
    """Reach the admin port of a proxy by another address of this machine."""
    address = f"http://{host}:{app.admin_address.port}"
    async with aiohttp.ClientSession(address) as session:
        yield session


async def ask(app: App, path: str = "/api/status", **headers: str) -> tuple[int, str]:
    """Request a path; return status and text."""
    async with reached_by(app) as session, session.get(path, headers=headers) as response:
        return response.status, await response.text()


async def document(app: App) -> dict[str, Any]:
    """Return the document, validated by its model."""
    status, text = await ask(app)
    assert status == 200
    Status.model_validate_json(text, strict=True)
    found: dict[str, Any] = json.loads(text)
    return found


async def call(app: App, path: str, **headers: str) -> int:
    """Call through the proxy."""
    async with (
        aiohttp.ClientSession(url(app)) as session,
        session.get(path, headers=headers) as response,
    ):
        await response.read()
        return response.status


def refresh(app: App) -> None:
    """Refresh every token now."""
    for entry in app.tokens.entries():
        app.tokens.start_refresh(entry)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """A running proxy."""
    async with Sandbox() as bank, running(bank, allowed_hosts="") as app:
        yield app


@pytest.mark.parametrize("path", PATHS)
async def test_security_headers(app: App, path: str) -> None:
    """No foreign or inline content, no frames, no caching."""
    async with reached_by(app) as session, session.get(path) as response:
        assert response.status == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "form-action 'none'" in policy
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.charset == "utf-8"


async def test_files_of_the_page_are_served(app: App) -> None:
    """Every named file, and none from elsewhere."""
    async with reached_by(app) as session:
        for path in FILES:
            async with session.get(path) as response:
                text = await response.text()
            assert not re.search(r"(?:src|href|url|from)\W{1,3}(?:https?:)?//", text)
            for named in re.findall(r"""(?:src|href)="(/page/[^"]+)"|from '\./([^']+)'""", text):
                assert (named[0] or f"/page/{named[1]}") in FILES


def test_every_file_is_used() -> None:
    """And every used file exists."""
    folder = Path(__file__).parents[2] / "proxy" / "admin" / "page"
    assert {file.name for file in folder.iterdir()} == {name for name, _ in FILES.values()}


async def test_document_in_every_state_is_valid() -> None:
    """With good, refused, failed and aborted requests and a failing token."""
    async with (
        Sandbox() as bank,
        running(bank, token={"refusal_memory": "0.1"}, upstream={"total_timeout": "2"}) as app,
    ):
        assert (await document(app))["health"]["state"] == "ok"
        bank.bank.faults.append(Fault("resource", status=503, times=1))
        bank.bank.faults.append(Fault("resource", reset=True, times=1, path_prefix="/v1/transfers"))
        assert await call(app, "/v1/accounts") == 503
        assert await call(app, "/v1/transfers/771234") in (200, 404, 502)
        assert await call(app, "/v1/accounts", institutionId="00099") == 403
        assert await call(app, "/echo?secret=1") == 200
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        refresh(app)
        await until(lambda: any(entry.failures for entry in app.tokens.entries()))
        found = await document(app)
        assert found["health"]["state"] == "warning"
        assert [token["state"] for token in found["tokens"]] == ["failing"]
        assert {error["reason"] for error in found["errors"]} >= {
            "bank-error",
            "institution-not-allowed",
            "token-bad-client",
        }
        assert found["requests"][0]["path"] == "/echo"
        bank.bank.faults.clear()
        refresh(app)
        await until(lambda: not any(entry.failures for entry in app.tokens.entries()))
        assert (await document(app))["tokens"][0]["state"] == "fresh"


async def test_requests_are_counted_and_listed(app: App) -> None:
    """The minute counts all, the list is newest first."""
    for number in range(7):
        assert (
            await call(app, "/echo", transactionId=f"6f1d0c4e-0000-4000-8000-00000000000{number}")
            == 200
        )
    found = await document(app)
    assert found["minute"]["requests"] == 7
    ids = [request["transactionId"] for request in found["requests"]]
    assert ids == [f"6f1d0c4e-0000-4000-8000-00000000000{number}" for number in range(6, -1, -1)]
    assert all(request["proxy_ms"] is not None for request in found["requests"])


async def test_page_during_shutdown() -> None:
    """It says so."""
    async with Sandbox() as bank, running(bank, drain_delay="0.5") as app:
        ending = asyncio.create_task(app.stop())
        await until(lambda: app.readiness().draining)
        assert (await document(app))["health"]["state"] == "stopping"
        await ending


async def test_disabled_page_names_the_setting() -> None:
    """In words."""
    async with Sandbox() as bank, running(bank, status_page="off") as app:
        assert await call(app, "/echo") == 200
        for path in PATHS:
            status, text = await ask(app, path)
            assert (status, "status_page is off" in text) == (404, True)


async def test_remote_visitor_is_refused() -> None:
    """With a remedy; this machine is accepted."""
    async with Sandbox() as bank, running(bank, admin=EVERYWHERE) as app:
        assert (await ask(app))[0] == 200
        # A request through a proxy counts as remote.
        status, text = await ask(app, "/api/status", **{"X-Forwarded-For": "10.0.0.9"})
        assert status == 403
        assert "status_page: on" in text
        assert (await ask(app, "/readyz", **{"X-Forwarded-For": "10.0.0.9"}))[0] == 200


async def test_status_page_on_allows_all() -> None:
    """Everybody who reaches the port."""
    async with Sandbox() as bank, running(bank, admin=EVERYWHERE, status_page="on") as app:
        assert (await ask(app, "/api/status", **{"X-Forwarded-For": "10.0.0.9"}))[0] == 200


@pytest.mark.parametrize("path", PATHS)
async def test_rebound_name_is_refused(app: App, path: str) -> None:
    """DNS rebinding, on every path of the admin port."""
    status, text = await ask(app, path, Host="evil.example")
    assert status == 403
    assert "allowed_hosts" in text
    assert (await ask(app, "/readyz", Host="evil.example"))[0] == 403


async def test_page_of_another_site_is_refused(app: App) -> None:
    """It can neither read nor embed; links work."""
    site = {"Sec-Fetch-Site": "cross-site"}
    follows = {**site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await ask(app, "/api/status", **site))[0] == 403
    assert (await ask(app, "/page/status.js", **site))[0] == 403
    assert (await ask(app, "/", **site))[0] == 403
    assert (await ask(app, "/", **follows))[0] == 200
    assert (await ask(app, "/api/status", **follows))[0] == 403


async def test_page_of_another_site_cannot_quit() -> None:
    """Although actions are allowed."""
    async with Sandbox() as bank, running(bank, admin_actions=True) as app:
        for path in ("/-/reload", "/quitquitquit"):
            async with (
                reached_by(app) as session,
                session.post(path, headers={"Sec-Fetch-Site": "cross-site"}) as response,
            ):
                assert response.status == 403
        assert not app.quit.is_set()


async def test_page_is_read_only(app: App) -> None:
    """Other methods are refused."""
    async with reached_by(app) as session:
        for path in PATHS:
            async with session.post(path) as response:
                assert response.status == 405


async def test_unix_socket(tmp_path: Path) -> None:
    """The page is served under any name; the file mode protects it."""
    async with Sandbox() as bank, running(bank, admin=f"unix:{tmp_path}/admin.sock"):
        connector = aiohttp.UnixConnector(str(tmp_path / "admin.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://anything/api/status") as response,
        ):
            assert response.status == 200
            found = await response.json()
        assert found["listeners"][-1]["address"] == f"unix:{tmp_path}/admin.sock"
