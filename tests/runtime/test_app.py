"""The whole proxy in one process: start and stop."""

import asyncio
import gc
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from proxy.errors import ConfigError
from proxy.sandbox import Fault, Sandbox, Settings
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.running import make_app, running, until, url

EVERY_LOOP = True


@contextmanager
def taken_port() -> Iterator[str]:
    """Return an address on which another socket listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield f"{host}:{port}"


def is_free(address: object) -> bool:
    """Whether nothing listens at the address; found out without connecting."""
    host, _, port = str(address).rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
        return True


async def test_request_is_forwarded_with_credentials() -> None:
    """A caller without credentials gets the bank's response."""
    async with (
        Sandbox() as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
        caller.get("/v1/accounts") as response,
    ):
        assert response.status == 200
        (arrival,) = bank.bank.arrivals
        assert arrival.all("authorization") == [f"Bearer {token}" for token in bank.bank.tokens]
        assert arrival.all("institutionid") == ["00016"]


async def test_base_path_of_the_environment() -> None:
    """Callers may include or omit the base URL's path."""
    async with (
        Sandbox(Settings(base_path="/digitalbanking/stage")) as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as caller,
    ):
        for path in ("/v1/accounts", "/digitalbanking/stage/v1/accounts"):
            async with caller.get(path) as response:
                assert response.status == 200
        assert {arrival.target for arrival in bank.bank.arrivals} == {
            "/digitalbanking/stage/v1/accounts"
        }


async def test_token_is_fetched_before_the_first_request() -> None:
    """The default institution's token makes the proxy ready."""
    async with Sandbox() as bank, running(bank) as app:
        assert app.readiness().is_ready
        assert [request.institution for request in bank.bank.token_requests] == ["00016"]


@pytest.mark.parametrize("name", ["listen", "admin"])
async def test_failed_start_leaves_nothing_open(name: str) -> None:
    """A port in use fails the start and releases the other port."""
    with taken_port() as taken, socket.create_server(("127.0.0.1", 0)) as other:
        free = "127.0.0.1:" + str(other.getsockname()[1])
        other.close()
        ports = {"listen": free, "admin": free, name: taken}
        app = make_app("http://127.0.0.1:9", **ports)
        with pytest.raises(ConfigError) as caught:
            await app.start()
        assert caught.value.errors[0].startswith(f"{name}: cannot listen on {taken} (")
        assert is_free(free)


async def test_stop_leaves_nothing_behind() -> None:
    """No task, port, upstream connection or resource warning remains."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        async with Sandbox() as bank:
            before = asyncio.all_tasks()
            async with running(bank) as app, aiohttp.ClientSession(url(app)) as caller:
                for method in ("GET", "POST"):
                    async with caller.request(method, "/echo", data=b"x" * 100_000) as response:
                        _ = await response.read()
            assert is_free(app.data_address)
            assert is_free(app.admin_address)
            await until(lambda: bank.connections == 0)
            assert asyncio.all_tasks() == before
        gc.collect()


async def test_drain_finishes_running_requests_only() -> None:
    """The port is closed, and the running response is complete and the last."""
    async with Sandbox() as bank, aiohttp.ClientSession() as caller:
        app = make_app(bank.url, grace_period="20")
        await app.start()
        bank.bank.faults.append(Fault("resource", delay=0.3))
        last = asyncio.create_task(caller.get(url(app) + "/download?bytes=1000000"))
        await until(lambda: bank.bank.arrivals)
        stopping = asyncio.create_task(app.stop())
        await until(lambda: is_free(app.data_address))
        assert app.readiness().reasons == ["shutting down"]
        assert not stopping.done()
        async with await last as response:
            assert len(await response.read()) == 1_000_000
            assert response.headers["Connection"] == "close"
        await stopping


async def test_stop_aborts_at_the_end_of_the_grace_period() -> None:
    """A hanging request does not delay the stop."""
    async with Sandbox() as bank, aiohttp.ClientSession() as caller:
        async with running(bank, grace_period="0.2") as app:
            bank.bank.faults.append(Fault("resource", hang=True))
            cut = asyncio.create_task(caller.get(url(app) + "/echo"))
            await until(lambda: bank.bank.arrivals)
        with pytest.raises(aiohttp.ClientError):
            await cut
        assert app.forwarder.in_flight == 0


async def test_bank_over_tls(tmp_path: Path) -> None:
    """Tokens and resources are fetched from a bank of the configured authority."""
    authority = OpensslAuthority.make(tmp_path)
    certificate = authority.issue("bank", "IP:127.0.0.1")
    bank = Sandbox()
    await bank.start(ssl_context=server_context(certificate))
    try:
        async with (
            running(bank, upstream={"ca_file": str(authority.file)}) as app,
            aiohttp.ClientSession(url(app)) as caller,
            caller.get("/v1/accounts") as response,
        ):
            assert response.status == 200
        async with running(bank, ready=False) as app:
            await until(lambda: "certificate" in str(app.readiness().reasons))
            assert "authority" in app.readiness().reasons[0]
        assert len(bank.bank.token_requests) == 1
    finally:
        await bank.stop()
