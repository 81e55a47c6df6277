"""The sandbox as a server."""

import asyncio
import uuid

import aiohttp
import pytest
import uvloop

from proxy.sandbox import Fault, Sandbox, Settings
from tests.sandbox.caller import SandboxCaller
from tests.support.running import DEADLINE, until

_EVERYWHERE = "0.0.0.0"  # noqa: S104  # that it is one is what is tested


async def test_url() -> None:
    """With port and base path, without a final slash."""
    async with Sandbox(Settings(base_path="/digitalbanking/stage")) as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")
        assert sandbox.url.endswith("/digitalbanking/stage")


@pytest.mark.parametrize(
    ("host", "begin"), [(_EVERYWHERE, "http://127.0.0.1:"), ("localhost", "http://localhost:")]
)
async def test_url_of_a_wildcard_address(host: str, begin: str) -> None:
    """It is callable."""
    sandbox = Sandbox()
    await sandbox.start(host)
    try:
        assert sandbox.url.startswith(begin)
        async with aiohttp.ClientSession() as session:
            assert (await SandboxCaller(sandbox, session).token()).status == 200
    finally:
        await sandbox.stop()


async def test_public_url() -> None:
    """It replaces the address."""
    async with Sandbox(Settings(public_url="http://bank:8081/", base_path="/b")) as sandbox:
        assert sandbox.url == "http://bank:8081/b"


async def test_restart_keeps_tokens(caller: SandboxCaller) -> None:
    """A stopped bank refuses connections."""
    bearer = await caller.bearer()
    port = int(caller.sandbox.url.rpartition(":")[2])
    await caller.sandbox.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.token()
    await caller.sandbox.start(port=port)
    assert (await caller.call("/v1/accounts", bearer=bearer)).status == 200


async def test_stop_is_immediate(caller: SandboxCaller) -> None:
    """Hanging, slow and idle connections end."""
    caller.bank.faults.append(Fault("token", hang=True))
    hanging = asyncio.ensure_future(
        caller.raw(b"POST /oauth2/v1/token HTTP/1.1\r\nHost: x\r\n\r\n")
    )
    idle = asyncio.ensure_future(caller.raw(b""))
    await until(lambda: caller.sandbox.connections == 2)
    async with asyncio.timeout(DEADLINE):
        await caller.sandbox.stop()
        assert await hanging == b""
        assert await idle == b""


async def test_stop_before_start() -> None:
    """It does nothing."""
    sandbox = Sandbox()
    sandbox.drop_connections()
    await sandbox.stop()
    assert (sandbox.url, sandbox.connections) == ("", 0)


async def test_port_in_use(caller: SandboxCaller) -> None:
    """It raises ``OSError``."""
    port = int(caller.sandbox.url.rpartition(":")[2])
    other = Sandbox()
    with pytest.raises(OSError, match="in use"):
        await other.start(port=port)
    await other.stop()


async def test_drop_connections(caller: SandboxCaller) -> None:
    """Idle ones."""
    idle = asyncio.ensure_future(caller.raw(b""))
    await until(lambda: caller.sandbox.connections == 1)
    caller.sandbox.drop_connections()
    assert await idle == b""
    assert (await caller.token()).status == 200


async def test_connection_is_persistent(caller: SandboxCaller) -> None:
    """After refusals too."""
    raw = b"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n"
    last = raw.replace(b"Host", b"Connection: close\r\nHost")
    assert (await caller.raw(raw * 2 + last)).count(b"HTTP/1.1 401 ") == 3


async def test_large_heads_are_accepted(caller: SandboxCaller) -> None:
    """As the proxy accepts them."""
    headers = {f"x-{number}": "y" * 100 for number in range(500)}
    target = "/echo?" + "&".join(f"a{number}=1" for number in range(10_000))
    seen = (await caller.call(target, headers=headers)).json()
    assert seen["target"] == target
    assert len(seen["headers"]) >= 500


async def test_disconnect_leaves_nothing(caller: SandboxCaller) -> None:
    """During a download."""
    url = caller.sandbox.url + "/download?bytes=100000000"
    headers = {
        "Authorization": f"Bearer {await caller.bearer()}",
        "transactionId": str(uuid.uuid4()),
    }
    async with caller.session.get(url, headers=headers) as response:
        await response.content.read(1000)
        response.close()
    await until(lambda: caller.sandbox.connections == 0)


async def test_reset_is_a_tcp_reset(caller: SandboxCaller) -> None:
    """Not a FIN."""
    caller.bank.faults.append(Fault("resource", reset=True))
    port = int(caller.sandbox.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_malformed_request_is_a_400(
    caller: SandboxCaller, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a traceback."""
    assert (await caller.raw(b"GET /\xff HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
    assert not caplog.records


async def test_works_on_uvloop() -> None:
    """Resets included."""

    def run() -> None:
        uvloop.run(_reset_and_serve())

    await asyncio.to_thread(run)


async def _reset_and_serve() -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        caller = SandboxCaller(sandbox, session)
        sandbox.bank.faults.append(Fault("token", reset=True, times=1))
        with pytest.raises(aiohttp.ClientOSError):
            await caller.token()
        assert (await caller.token()).status == 200
