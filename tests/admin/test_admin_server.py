"""The admin port over sockets: probes, metrics, actions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from proxy.admin import admin_server
from proxy.admin.health import Condition
from proxy.admin.readiness import Readiness
from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from proxy.server.address import Address
from proxy.server.memory import MemoryBudget
from proxy.server.refusals import Refusals
from tests.support.raw_client import ask
from tests.support.running import running, until, url


@dataclass
class AdminHarness:
    """An admin port with a settable readiness."""

    session: aiohttp.ClientSession
    state: Readiness


@dataclass(frozen=True)
class AdminPort:
    """The admin port, in the place of a proxy to connect to."""

    data_address: Address


CONDITION = Condition("warning", "Some fail.", "bank-error", "The bank fails.", "Wait.")


@asynccontextmanager
async def served(
    actions: admin_server.Actions | None = None, state: Readiness | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Start an admin port alone, with a client."""
    routes = admin_server.routes(
        lambda: state or Readiness(),
        lambda: [CONDITION],
        lambda accept: ([accept[:4].encode(), accept[4:].encode()], "text/plain; x=1"),
        actions,
    )
    async with AsyncExitStack() as stack:
        handler = admin_server.AdminHandler(routes)
        address = await admin_server.serve(
            handler, Address("127.0.0.1", 0), Refusals(), MemoryBudget(1 << 20), stack
        )
        async with aiohttp.ClientSession(f"http://{address}") as session:
            yield session


@pytest.fixture
async def admin() -> AsyncIterator[AdminHarness]:
    """An admin port and its readiness."""
    state = Readiness()
    async with served(state=state) as session:
        yield AdminHarness(session, state)


async def test_livez_is_always_200(admin: AdminHarness) -> None:
    """Ready or not."""
    admin.state.reasons.append("no token")
    async with admin.session.get("/livez") as response:
        assert (response.status, await response.json()) == (
            200,
            {"status": "alive", "listeners": []},
        )


async def test_readyz_is_200_when_ready(admin: AdminHarness) -> None:
    """Without a reason against it."""
    async with admin.session.get("/readyz") as response:
        document = await response.json()
        assert (response.status, document["status"], document["reasons"]) == (200, "ready", [])


async def test_readyz_is_503_with_the_reason(admin: AdminHarness) -> None:
    """When not ready."""
    admin.state.reasons += ["no token", "shutting down"]
    async with admin.session.get("/readyz") as response:
        document = await response.json()
        assert (response.status, document["status"]) == (503, "not ready")
        assert document["reasons"] == ["no token", "shutting down"]


async def test_metrics_format_follows_accept(admin: AdminHarness) -> None:
    """The content type agrees."""
    async with admin.session.get("/metrics", headers={"Accept": "a/b"}) as response:
        assert await response.read() == b"a/b"
        assert response.headers["Content-Type"] == "text/plain; x=1"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_responses_are_not_cached(admin: AdminHarness, path: str) -> None:
    """HEAD is supported."""
    for method in ("GET", "HEAD"):
        async with admin.session.request(method, path) as response:
            assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/accounts", 404),
        ("GET", "/livez/", 404),
        ("POST", "/livez", 405),
        ("DELETE", "/metrics", 405),
        ("POST", "/-/reload", 404),
        ("POST", "/quitquitquit", 404),
    ],
)
async def test_other_paths_do_not_exist(
    admin: AdminHarness, method: str, path: str, status: int
) -> None:
    """Neither resources of the bank nor actions."""
    async with admin.session.request(method, path) as response:
        assert response.status == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez HTTP/1.0\r\nHost: evil.test\r\n\r\n", 403),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n", 400),
    ],
)
async def test_only_http_1_0_needs_no_host(head: bytes, status: int) -> None:
    """As HAProxy's health checks have none; a web page's request always has one."""
    async with Sandbox() as bank, running(bank, allowed_hosts="localhost") as app:
        assert (await ask(AdminPort(app.admin_address), head)).status == status


@pytest.mark.parametrize(("taken", "status"), [(True, 200), (False, 409)])
async def test_reload_reports_its_result(taken: bool, status: int) -> None:
    """If actions are allowed."""
    asked: list[bool] = []

    async def reload() -> bool:
        asked.append(taken)
        return taken

    async with served(admin_server.Actions(reload, lambda: None)) as session:
        for _ in range(2):
            async with session.post("/-/reload") as response:
                assert response.status == status
                assert (await response.json())["status"].startswith("success") == taken
        async with session.get("/-/reload") as response:
            assert response.status == 405
    assert len(asked) == 2


async def test_quit_responds_before_the_end() -> None:
    """If actions are allowed."""
    asked: list[bool] = []

    async def reload() -> bool:
        raise AssertionError

    async with served(admin_server.Actions(reload, lambda: asked.append(True))) as session:
        async with session.get("/quitquitquit") as response:
            assert (response.status, asked) == (405, [])
        async with session.post("/quitquitquit") as response:
            assert (response.status, asked) == (200, [True])


async def readyz(app: App) -> tuple[int, list[str]]:
    """Return status and document of ``/readyz``."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{app.admin_address}/readyz") as response,
    ):
        return response.status, (await response.json())["reasons"]


async def test_proxy_is_not_ready_before_its_first_token() -> None:
    """The reason is the bank's refusal."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        async with running(bank, ready=False, token={"refusal_memory": "0.2"}) as app:
            await until(lambda: bank.bank.token_requests)
            await until(lambda: "bank refused" in str(app.readiness().reasons))
            status, (reason,) = await readyz(app)
            assert status == 503
            assert reason.startswith("no v2 token for institution 00016: ")
            assert "client id and secret" in reason
            assert "sandbox-secret" not in reason
            bank.bank.faults.clear()
            await until(lambda: app.readiness().is_ready)
            assert await readyz(app) == (200, [])


async def test_probes_respond_under_load() -> None:
    """While a hundred requests wait for the bank."""
    async with (
        Sandbox() as bank,
        running(bank, grace_period="0") as app,
        aiohttp.ClientSession(url(app)) as session,
    ):
        bank.bank.faults.append(Fault("resource", hang=True))
        waiting = [asyncio.create_task(session.get("/echo")) for _ in range(100)]
        await until(lambda: app.forwarder.in_flight == 100)
        assert await readyz(app) == (200, [])
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
