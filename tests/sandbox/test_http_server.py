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
    """The URL names the port and the base path, and ends without a slash."""
    async with Sandbox(Settings(base_path="/digitalbanking/stage")) as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")
        assert sandbox.url.endswith("/digitalbanking/stage")


@pytest.mark.parametrize(
    ("host", "begin"), [(_EVERYWHERE, "http://127.0.0.1:"), ("localhost", "http://localhost:")]
)
async def test_url_can_be_used(host: str, begin: str) -> None:
    """A wildcard address becomes one that can be called."""
    sandbox = Sandbox()
    await sandbox.start(host)
    try:
        assert sandbox.url.startswith(begin)
        async with aiohttp.ClientSession() as session:
            assert (await SandboxCaller(sandbox, session).token()).status == 200
    finally:
        await sandbox.stop()


async def test_public_url() -> None:
    """A public URL takes the place of the address."""
    async with Sandbox(Settings(public_url="http://bank:8081/", base_path="/b")) as sandbox:
        assert sandbox.url == "http://bank:8081/b"


async def test_stop_and_start_again(caller: SandboxCaller) -> None:
    """A bank that is down refuses connections; up again on its port, its tokens are still good."""
    bearer = await caller.bearer()
    port = int(caller.sandbox.url.rpartition(":")[2])
    await caller.sandbox.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.token()
    await caller.sandbox.start(port=port)
    assert (await caller.call("/v1/accounts", bearer=bearer)).status == 200


async def test_stop_waits_for_nobody(caller: SandboxCaller) -> None:
    """A stop ends what hangs, what is slow and what is idle, at once."""
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
    """A stop without a start does nothing."""
    sandbox = Sandbox()
    sandbox.drop_connections()
    await sandbox.stop()
    assert (sandbox.url, sandbox.connections) == ("", 0)


async def test_port_in_use(caller: SandboxCaller) -> None:
    """A port in use is an ``OSError``, as usual."""
    port = int(caller.sandbox.url.rpartition(":")[2])
    other = Sandbox()
    with pytest.raises(OSError, match="in use"):
        await other.start(port=port)
    await other.stop()


async def test_drop_connections(caller: SandboxCaller) -> None:
    """Idle connections can be closed under the caller's hands."""
    idle = asyncio.ensure_future(caller.raw(b""))
    await until(lambda: caller.sandbox.connections == 1)
    caller.sandbox.drop_connections()
    assert await idle == b""
    assert (await caller.token()).status == 200


async def test_connection_is_kept(caller: SandboxCaller) -> None:
    """Several requests go over one connection, refused ones too."""
    raw = b"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n"
    last = raw.replace(b"Host", b"Connection: close\r\nHost")
    assert (await caller.raw(raw * 2 + last)).count(b"HTTP/1.1 401 ") == 3


async def test_long_request_line_and_many_headers(caller: SandboxCaller) -> None:
    """What a proxy lets through, the bank takes: long targets, many headers."""
    headers = {f"x-{number}": "y" * 100 for number in range(500)}
    target = "/echo?" + "&".join(f"a{number}=1" for number in range(10_000))
    seen = (await caller.call(target, headers=headers)).json()
    assert seen["target"] == target
    assert len(seen["headers"]) >= 500


async def test_caller_that_goes_away(caller: SandboxCaller) -> None:
    """A caller that leaves in mid-download leaves nothing behind."""
    url = caller.sandbox.url + "/download?bytes=100000000"
    headers = {
        "Authorization": f"Bearer {await caller.bearer()}",
        "transactionId": str(uuid.uuid4()),
    }
    async with caller.session.get(url, headers=headers) as response:
        await response.content.read(1000)
        response.close()
    await until(lambda: caller.sandbox.connections == 0)


async def test_reset_is_a_reset(caller: SandboxCaller) -> None:
    """A reset is a TCP reset, not a clean close."""
    caller.bank.faults.append(Fault("resource", reset=True))
    port = int(caller.sandbox.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_malformed_request(caller: SandboxCaller, caplog: pytest.LogCaptureFixture) -> None:
    """A malformed request is a 400 and no traceback."""
    assert (await caller.raw(b"GET /\xff HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
    assert not caplog.records


async def test_other_event_loop() -> None:
    """The bank behaves the same on uvloop, resets included."""

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
