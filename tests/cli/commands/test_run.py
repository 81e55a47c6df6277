"""``run`` as a process: output and exit codes."""

import asyncio
import json
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import aiohttp
import pytest
from structlog.testing import capture_logs

from proxy.cli.commands.run import compare_with_sdk
from proxy.config import loader
from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.started import address, get, proxy, ready, taken_port, until_ready
from tests.support.program import ANYWHERE, CREDENTIALS, RunningProgram, run_program
from tests.support.running import until
from tests.support.terminal import terminal

LOCAL = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize("port", ["listen", "admin"])
async def test_port_in_use_is_one_line(port: str) -> None:
    """By another program: how to find it, and the flag to change."""
    with taken_port() as taken:
        other = "admin" if port == "listen" else "listen"
        code, _, err = await run_program(
            "run", f"--{port}", taken, f"--{other}", "127.0.0.1:0", **LOCAL
        )
    assert code == 2
    line = err.splitlines()[-1]
    assert line.startswith(f"candescent-proxy: {port}: {taken} is in use by another program")
    assert f"ss -ltnp sport = :{taken.partition(':')[2]}" in line
    assert f"another address with --{port}." in line


async def test_second_run_names_the_first() -> None:
    """On both ports, and it is not counted there."""
    async with Sandbox() as bank, proxy(bank) as first:
        await until_ready(first)
        ports = {
            name: (await address(first, name)).removeprefix("http://")
            for name in ("listen", "admin")
        }
        flags = [word for name, port in ports.items() for word in (f"--{name}", port)]
        code, _, err = await run_program("run", *flags, **LOCAL)
        text = (await get(f"http://{ports['admin']}/metrics"))[1]
    assert code == 2
    assert err.splitlines()[-2:] == [
        f"candescent-proxy: {name}: {port} is in use by a candescent-proxy that is already "
        f"running. Stop it, or choose another address with --{name}."
        for name, port in ports.items()
    ]
    assert "candescent_proxy_requests_total{" not in text


async def test_log_on_a_terminal(tmp_path: Path) -> None:
    """It names the status page; the fields of a request are in the order of their weight."""
    variables = {**CREDENTIALS, "CANDESCENT_LOG__ACCESS": "on", "NO_COLOR": "1"}
    async with Sandbox() as bank:
        variables["CANDESCENT_BASE_URL"] = bank.url
        async with terminal("run", *ANYWHERE, cwd=tmp_path, **variables) as screen:
            await screen.sees("status_page=http://127.0.0.1:")
            listen = screen.text.partition("listen=")[2].split()[0]
            for path in ("v1/accounts", "oauth2/v1/token"):
                await get(f"http://{listen}/{path}")
            await screen.sees("method=GET path=/v1/accounts status=200 ms=")
            await screen.sees("method=GET path=/oauth2/v1/token status=403 ms=")
            await screen.sees(" reason=reserved error_source=caller")
            screen.types("\x03")
            assert await screen.ends() == 0


async def test_minimal_configuration_forwards_a_request() -> None:
    """Three variables and a base URL suffice."""
    async with Sandbox() as bank, proxy(bank) as it:
        await until_ready(it)
        status, body = await get(await address(it, "listen") + "/v1/accounts")
        assert (status, bank.bank.arrivals[-1].target) == (200, "/v1/accounts")
        assert "accounts" in body
        text = (await get(await address(it, "admin") + "/metrics"))[1]
        assert 'candescent_proxy_requests_total{error_source="none",method="GET"' in text
        assert await it.end(SIGTERM) == 0


async def test_variables_of_the_vendors_sdk_are_logged_by_name() -> None:
    """Its ``.env`` file does no harm."""
    vendor = {"CANDESCENT_ACCOUNT_ID": "acc-8812", "CANDESCENT_MX_CLIENT_ID": "mx-8812"}
    async with Sandbox() as bank, proxy(bank, CANDESCENT_LOG_FORMAT="json", **vendor) as it:
        await until_ready(it)
        (warning,) = it.events("variables of the vendor's SDK ignored")
        assert warning["variables"] == sorted(vendor)
        assert "8812" not in "".join(it.err)


@pytest.mark.parametrize(
    ("environment", "sdk_base_url"),
    [
        ("stage", "https://api.stage.candescent.com"),
        ("production", "https://api.candescent.com"),
        ("sandbox", None),
    ],
)
def test_environment_with_another_host_in_the_sdk(
    environment: str, sdk_base_url: str | None
) -> None:
    """The log says which host is used."""
    variables = {**CREDENTIALS, "CANDESCENT_ENVIRONMENT": environment}
    with capture_logs() as lines:
        compare_with_sdk(loader.load(None, variables, {}), variables)
    assert [line["sdk_base_url"] for line in lines] == ([sdk_base_url] if sdk_base_url else [])
    assert all(line["base_url"].startswith("https://api.candescent.com/digital") for line in lines)


def arguments_of(it: RunningProgram) -> str:
    """Return the process's arguments as other users see them; Linux only."""
    listed = Path(f"/proc/{it.process.pid}/cmdline")
    return listed.read_text() if listed.exists() else ""


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=lambda number: Signals(number).name)
async def test_signal_finishes_running_requests(number: Signals) -> None:
    """No new connections, not ready, then exit code 0."""
    async with (
        Sandbox() as bank,
        proxy(bank, CANDESCENT_GRACE_PERIOD="15") as it,
        aiohttp.ClientSession() as session,
    ):
        await until_ready(it)
        host = await address(it, "listen")
        bank.bank.faults.append(Fault("resource", delay=0.7))
        last = asyncio.create_task(session.get(host + "/echo/last"))
        await until(lambda: bank.bank.arrivals)
        it.send(number)
        stopping = await it.wait_for_event("stopping")
        assert stopping["reason"] == Signals(number).name
        assert not await ready(it)
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(host + "/echo/too-late")
        async with await last as response:
            assert response.status == 200
            assert response.headers["Connection"] == "close"
        assert await it.end() == 0
        assert not [line for line in it.err if "Traceback" in line]


async def test_grace_period_aborts_requests() -> None:
    """The exit code is 0."""
    async with (
        Sandbox() as bank,
        proxy(bank, CANDESCENT_GRACE_PERIOD="0.5") as it,
        aiohttp.ClientSession() as session,
    ):
        await until_ready(it)
        bank.bank.faults.append(Fault("resource", hang=True))
        last = asyncio.create_task(session.get(await address(it, "listen") + "/echo"))
        await until(lambda: bank.bank.arrivals)
        assert await it.end(SIGTERM) == 0
        with pytest.raises(aiohttp.ClientError):
            await last
        assert not [line for line in it.err if "Traceback" in line]


async def test_signal_right_after_the_start() -> None:
    """It ends the proxy regularly."""
    async with Sandbox() as bank, proxy(bank) as it:
        assert await it.end(SIGTERM) == 0
        assert list(it.events("stopped"))


async def test_unreachable_bank_at_the_start() -> None:
    """The proxy is not ready, says why, and becomes ready later."""
    async with Sandbox() as bank:
        port = int(bank.url.rpartition(":")[2])
        await bank.stop()
        async with proxy(bank, CANDESCENT_TOKEN__BACKOFF_MAX="1") as it:
            await it.wait_for_event("token refresh failed")
            status, body = await get(await address(it, "admin") + "/readyz")
            assert status == 503
            (reason,) = json.loads(body)["reasons"]
            assert reason.startswith("no v2 token for institution 00016: ")
            assert "Check host and port of base_url" in reason
            assert (await get(await address(it, "admin") + "/livez"))[0] == 200
            assert (await get(await address(it, "listen") + "/v1/accounts"))[0] == 503
            assert "Traceback" not in "\n".join(it.err)
            await bank.start(port=port)
            await until_ready(it)
            assert (await get(await address(it, "listen") + "/v1/accounts"))[0] == 200
            assert await it.end(SIGTERM) == 0


async def test_log_on_a_pipe_is_json_without_secrets() -> None:
    """Every line is one JSON object.

    The arguments have no secret either.
    """
    async with (
        Sandbox() as bank,
        proxy(bank, "--log-level", "debug", CANDESCENT_LOG__ACCESS="on") as it,
    ):
        await until_ready(it)
        _ = await get(await address(it, "listen") + "/v1/accounts?loginId=juniper.quill")
        line = await it.wait_for_event("request")
        assert (line["path"], line["status"], line["error_source"]) == ("/v1/accounts", 200, "none")
        shown = arguments_of(it)
        assert await it.end(SIGTERM) == 0
        tokens = list(bank.bank.tokens)
    assert all(json.loads(line)["event"] for line in it.err)
    written = shown + "\n".join([*it.out, *it.err])
    assert tokens
    assert not [secret for secret in ("sandbox-secret", "juniper", *tokens) if secret in written]


async def test_closed_log_fails_no_request() -> None:
    """Requests succeed when standard error has no reader."""
    async with Sandbox() as bank, proxy(bank, CANDESCENT_LOG__ACCESS="on") as it:
        await until_ready(it)
        host = await address(it, "listen")
        it.process._transport.get_pipe_transport(2).close()  # type: ignore[attr-defined]
        for _ in range(3):
            assert (await get(host + "/v1/accounts"))[0] == 200
        assert await it.end(SIGTERM) == 0
