"""The command line, from outside: what it says, how it ends, and that it never just falls over."""

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import aiohttp
import pytest

from proxy import __version__, cli
from proxy.config import Config
from proxy.sandbox import Fault, Sandbox
from tests.program import ANYWHERE, CREDENTIALS, Program, ended, environment, program
from tests.running import running, until

LOCAL = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}
STAGE = {**CREDENTIALS, "CANDESCENT_ENVIRONMENT": "stage"}
WITHOUT_SECRETS = {
    "CANDESCENT_INSTITUTION_ID": "00016",
    "CANDESCENT_BASE_URL": "http://127.0.0.1:9",
}


@contextmanager
def taken_port() -> Iterator[str]:
    """Return an address that somebody else listens on, who never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield f"{host}:{port}"


@asynccontextmanager
async def proxy(bank: Sandbox, *arguments: str, **variables: str) -> AsyncIterator[Program]:
    """Run the program before a bank, on free ports."""
    variables = {**CREDENTIALS, "CANDESCENT_BASE_URL": bank.url, **variables}
    async with program("run", *ANYWHERE, *arguments, **variables) as it:
        await it.told("listening")
        yield it


async def address(it: Program, name: str) -> str:
    """Return where the program listens, as it told."""
    return f"http://{(await it.told('listening'))[name]}"


async def get(url: str) -> tuple[int, str]:
    """Return status and body of what is there."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def ready(it: Program) -> bool:
    """Ask the program whether it is ready."""
    return (await get(await address(it, "admin") + "/readyz"))[0] == 200


async def until_ready(it: Program) -> None:
    """Wait until the program says that it is ready."""
    async with asyncio.timeout(20):
        while not await ready(it):  # noqa: ASYNC110 - a probe asks again
            await asyncio.sleep(0.05)


@dataclass
class Probe:
    """Runs short commands within this process, which is quicker; says what they said."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    async def run(self, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error."""

        def main() -> object:
            with pytest.raises(SystemExit) as caught:
                cli.main([str(argument) for argument in arguments])
            return caught.value.code

        for name, text in variables.items():
            self.monkeypatch.setenv(name, text)
        self.capsys.readouterr()  # what a proxy in this process has logged
        code = await asyncio.to_thread(main)
        assert isinstance(code, int)
        out, err = self.capsys.readouterr()
        return code, out.rstrip("\n"), err.rstrip("\n")

    async def both(self, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
        """Return what ``run`` ends with, and see that ``check-config`` says exactly the same."""
        run = await ended("run", *arguments, **variables)
        assert await self.run("check-config", *arguments, **variables) == run
        return run


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Run commands in an environment without settings and with a proxy that leads nowhere."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return Probe(capsys, monkeypatch)


# Mistakes: one line each, exit code 2, never a traceback.


async def test_nothing_set() -> None:
    """A newcomer who sets nothing is told the four things that are needed."""
    code, out, err = await ended("run")
    assert (code, out) == (2, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "institution_id",
        "environment",
        "client_id",
        "client_secret",
    ]


async def test_every_mistake_has_its_line(probe: Probe, tmp_path: Path) -> None:
    """File, environment and flags are all looked at before the program gives up."""
    file = tmp_path / "proxy.yaml"
    file.write_text("grace_period: long\nlisen: x\n")
    code, out, err = await probe.both(
        "--config", file, "--log-level", "loud", **STAGE, CANDESCENT_BASE_ULR="x"
    )
    assert (code, out) == (2, "")
    lines = sorted(err.splitlines())
    assert [line.split(": ")[1] for line in lines] == [
        "CANDESCENT_BASE_ULR",
        "grace_period",
        "lisen",
        "log.level",
    ]
    assert "did you mean CANDESCENT_BASE_URL?" in lines[0]


async def test_secret_files_that_cannot_be_used(probe: Probe, tmp_path: Path) -> None:
    """A missing and an empty secret file are two lines that name setting, path and remedy."""
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.touch()
    code, out, err = await probe.both(
        **WITHOUT_SECRETS,
        CANDESCENT_CLIENT_ID_FILE=str(missing),
        CANDESCENT_CLIENT_SECRET_FILE=str(empty),
    )
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"candescent-proxy: client_id_file: {missing} cannot be read (No such file or directory)",
        f"candescent-proxy: client_secret_file: {empty} is empty; write the secret into it",
    ]


async def test_authorities_that_cannot_be_used(probe: Probe, tmp_path: Path) -> None:
    """A CA file that is none is a mistake before the first request, for ``check-config`` too."""
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate\n")
    code, _, err = await probe.both(*ANYWHERE, **STAGE, CANDESCENT_UPSTREAM__CA_FILE=str(file))
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("candescent-proxy: upstream.ca_file: ")


@pytest.mark.parametrize("port", ["listen", "admin"])
async def test_port_in_use(port: str) -> None:
    """A port that somebody else has is one line that says which flag to change."""
    with taken_port() as taken:
        other = "admin" if port == "listen" else "listen"
        code, _, err = await ended("run", f"--{port}", taken, f"--{other}", "127.0.0.1:0", **LOCAL)
    assert code == 2
    line = err.splitlines()[-1]
    assert line.startswith(f"candescent-proxy: {port}: cannot listen on {taken} (")
    assert line.endswith(f"choose another with --{port}")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("run", "--fast"), "unrecognized arguments: --fast"),
        (("run", "--config", "/nowhere.yaml"), "/nowhere.yaml: cannot be read"),
        (("run", "--listen", "8080"), "listen: expected HOST:PORT"),
        (("run", "--listen", "0.0.0.0:8080"), "can be reached from other machines"),
        (("check-config", "--base-url", "http://bänk.example"), "base_url: expected plain ASCII"),
        (("sandbox", "--listen", "8081"), "--listen: expected HOST:PORT"),
        (("sandbox", "--lifetime", "-1"), "lifetime: expected seconds"),
        (("sandbox", "--lifetime", "long"), "invalid float value"),
        (("sandbox", "--settings", "{"), "not JSON"),
        (("sandbox", "--settings", "[1]"), "expected a JSON object"),
        (("sandbox", "--settings", '{"quoat": 1}'), "quoat: no such setting"),
        (("sandbox", "--fault", "3"), "expected a JSON object"),
        (("sandbox", "--fault", '{"where": "moon"}'), "where: expected one of"),
        (("healthcheck", "--admin", "nowhere"), "admin: expected HOST:PORT"),
    ],
    ids=" ".join,
)
def test_wrong_arguments(
    arguments: tuple[str, ...],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong on the command line is told in a line, and the exit code is 2."""
    for name, text in LOCAL.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


# Commands that answer and end.


@pytest.mark.parametrize("command", ["candescent-proxy", "python -m proxy"])
async def test_version(command: str) -> None:
    """The installed command and the module are the same program."""
    if command.startswith("python"):
        code, out, _ = await ended("--version")
    else:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name(command),
            "--version",
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        out = (await process.communicate())[0].decode().strip()
        code = process.returncode or 0
    assert (code, out) == (0, f"candescent-proxy {__version__}")


def helped(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the help for a command."""
    with pytest.raises(SystemExit) as caught:
        cli.main([*arguments, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_is_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names every command and the least that works; each command its flags."""
    text = helped(capsys=capsys)
    for command in ("run", "sandbox", "demo", "check-config", "healthcheck"):
        assert re.search(rf"^    {command}\b", text, re.MULTILINE)
    assert "CANDESCENT_CLIENT_ID=" in text
    text = helped("run", capsys=capsys)
    for flag in ("--config", "--listen", "--admin", "--base-url", "--log-level", "--log-format"):
        assert flag in text


async def test_check_config_that_is_good(tmp_path: Path) -> None:
    """A good configuration is said to be good, with where from and where to."""
    file = tmp_path / "proxy.yaml"
    file.write_text("institution_id: 00016\nenvironment: production\nlisten: 127.0.0.1:81\n")
    secrets = {name: text for name, text in CREDENTIALS.items() if "CLIENT" in name}
    code, out, err = await ended("check-config", CANDESCENT_CONFIG=str(file), **secrets)
    assert (code, err) == (0, "")
    assert "127.0.0.1:81 → https://api.candescent.com/digitalbanking" in out


def references(schema: Any) -> Iterator[str]:
    """Return every reference within a schema."""
    if isinstance(schema, dict):
        yield from (text for name, text in schema.items() if name == "$ref")
        for inner in schema.values():
            yield from references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from references(inner)


async def test_print_schema() -> None:
    """The schema is JSON, names every setting, and refers to nothing that is not in it."""
    code, out, err = await ended("check-config", "--print-schema")
    schema = json.loads(out)
    assert (code, err, schema["type"]) == (0, "", "object")
    assert set(schema["properties"]) == set(Config.model_fields)
    assert "institution_id" in schema["required"]
    found = set(references(schema))
    assert found == {f"#/$defs/{name}" for name in schema["$defs"]} & found
    assert all(name.startswith("#/$defs/") for name in found)


# A running proxy.


async def test_three_variables_and_a_base_url_forward_a_request() -> None:
    """The least that works works: a caller without credentials reads accounts."""
    async with Sandbox() as bank, proxy(bank) as it:
        await until_ready(it)
        status, body = await get(await address(it, "listen") + "/v1/accounts")
        assert (status, bank.bank.arrivals[-1].target) == (200, "/v1/accounts")
        assert "accounts" in body
        text = (await get(await address(it, "admin") + "/metrics"))[1]
        assert 'candescent_proxy_requests_total{error_source="none",method="GET"' in text
        assert await it.end(SIGTERM) == 0


def arguments_of(it: Program) -> str:
    """Return the process's arguments as anybody on the machine sees them; Linux only."""
    listed = Path(f"/proc/{it.process.pid}/cmdline")
    return listed.read_text() if listed.exists() else ""


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=lambda number: Signals(number).name)
async def test_signal_lets_what_runs_finish(number: Signals) -> None:
    """With a request in flight: no new work, not ready, the answer still comes, exit 0."""
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
        stopping = await it.told("stopping")
        assert stopping["reason"] == Signals(number).name
        assert not await ready(it)
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(host + "/echo/too-late")
        async with await last as answer:
            assert answer.status == 200
            assert answer.headers["Connection"] == "close"
        assert await it.end() == 0
        assert not [line for line in it.err if "Traceback" in line]


async def test_grace_period_ends() -> None:
    """A request that does not end is cut when the grace period is over, and the exit code is 0."""
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
    """From the first line on a signal is a request to stop, not the end of the process."""
    async with Sandbox() as bank, proxy(bank) as it:
        assert await it.end(SIGTERM) == 0
        assert list(it.logged("stopped"))


async def test_unreachable_bank_at_the_start() -> None:
    """The program runs, is not ready and says why; when the bank comes up it is ready by itself."""
    async with Sandbox() as bank:
        port = int(bank.url.rpartition(":")[2])
        await bank.stop()
        async with proxy(bank, CANDESCENT_TOKEN__BACKOFF_MAX="1") as it:
            await it.told("token refresh failed")
            status, body = await get(await address(it, "admin") + "/readyz")
            assert status == 503
            (reason,) = json.loads(body)["reasons"]
            assert reason.startswith("no v2 token for institution 00016: ")
            assert "check base_url and the network" in reason
            assert (await get(await address(it, "admin") + "/livez"))[0] == 200
            assert (await get(await address(it, "listen") + "/v1/accounts"))[0] == 503
            assert "Traceback" not in "\n".join(it.err)
            await bank.start(port=port)
            await until_ready(it)
            assert (await get(await address(it, "listen") + "/v1/accounts"))[0] == 200
            assert await it.end(SIGTERM) == 0


async def test_log_on_a_pipe_is_json_and_holds_no_secret() -> None:
    """Where no terminal is, every line is one JSON object; no credential is in it.

    Nor is one in the arguments, which everybody on the machine can list.
    """
    async with (
        Sandbox() as bank,
        proxy(bank, "--log-level", "debug", CANDESCENT_LOG__ACCESS="on") as it,
    ):
        await until_ready(it)
        _ = await get(await address(it, "listen") + "/v1/accounts?loginId=juniper.quill")
        line = await it.told("request")
        assert (line["path"], line["status"], line["error_source"]) == ("/v1/accounts", 200, "none")
        shown = arguments_of(it)
        assert await it.end(SIGTERM) == 0
        tokens = list(bank.bank.tokens)
    assert all(json.loads(line)["event"] for line in it.err)
    written = shown + "\n".join([*it.out, *it.err])
    assert tokens
    assert not [secret for secret in ("sandbox-secret", "juniper", *tokens) if secret in written]


async def test_log_whose_reader_is_gone_fails_no_request() -> None:
    """When standard error is a pipe without an end, requests go on."""
    async with Sandbox() as bank, proxy(bank, CANDESCENT_LOG__ACCESS="on") as it:
        await until_ready(it)
        host = await address(it, "listen")
        it.process._transport.get_pipe_transport(2).close()  # type: ignore[attr-defined]
        for _ in range(3):
            assert (await get(host + "/v1/accounts"))[0] == 200
        assert await it.end(SIGTERM) == 0


# Probes for containers and start scripts.


async def test_healthcheck(probe: Probe) -> None:
    """0 when ready, with ``--live`` when alive; ``HTTP_PROXY`` is not for a port of one's own."""
    async with Sandbox() as bank, running(bank) as app:
        admin = ("--admin", str(app.admin_address))
        for arguments, status in (((), "ready"), (("--live",), "alive")):
            code, out, err = await probe.run("healthcheck", *admin, *arguments)
            assert (code, json.loads(out)["status"], err) == (0, status, "")


async def test_healthcheck_of_a_proxy_that_is_not_ready(probe: Probe) -> None:
    """1 with the reason on standard error; alive it is all the same."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        async with running(bank, ready=False) as app:
            await until(lambda: "client id and secret" in str(app.readiness().reasons))
            admin = {"CANDESCENT_ADMIN": str(app.admin_address)}
            code, out, err = await probe.run("healthcheck", **admin)
            assert (code, out) == (1, "")
            assert "client id and secret" in err
            assert (await probe.run("healthcheck", "--live"))[0] == 0


async def test_healthcheck_without_a_proxy(probe: Probe, tmp_path: Path) -> None:
    """1 in one line when nothing answers where the configuration says, or not with HTTP."""
    file = tmp_path / "proxy.yaml"
    file.write_text("admin: 0.0.0.0:9\nlisen: and so on\n")
    code, _, err = await probe.run("healthcheck", "--config", file)
    assert code == 1
    assert err.startswith("candescent-proxy: nothing answers on 127.0.0.1:9 (")

    async def mumble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, _, err = await probe.run("healthcheck", "--admin", f"127.0.0.1:{port}")
    assert (code, err) == (1, f"candescent-proxy: what answers on 127.0.0.1:{port} is not HTTP")


async def test_wait(probe: Probe) -> None:
    """It waits for a proxy that is not ready yet, and no longer than it is told to."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        async with running(bank, ready=False, token={"refusal_memory": "0.2"}) as app:
            await until(lambda: "client id and secret" in str(app.readiness().reasons))
            admin = ("--admin", str(app.admin_address))
            code, _, err = await probe.run("wait", *admin, "--timeout", "0")
            assert (code, "client id and secret" in err) == (1, True)
            waiting = asyncio.create_task(probe.run("wait", *admin, "--timeout", "20"))
            bank.bank.faults.clear()
            assert (await waiting)[0] == 0
            assert app.readiness().is_ready


# The sandbox.


async def test_sandbox() -> None:
    """It says where it is, behaves as it was told, and ends with exit code 0."""
    async with program(
        "sandbox",
        *("--listen", "127.0.0.1:0", "--lifetime", "7", "--base-path", "/bank"),
        *("--settings", '{"institutions": ["00016", "00099"], "quota": 5}'),
        *("--fault", '{"where": "token", "code": "CMN_90002", "times": 1}'),
        *("--fault", '{"where": "resource", "status": 503}'),
    ) as it:
        line = await it.printed("its base URL is")
        assert "sandbox-client" in await it.printed("00099")
        base_url = line.split()[-1]
        assert base_url.endswith("/bank")
        state = json.loads((await get(base_url + "/_sandbox/"))[1])
        assert (state["settings"]["lifetime"], state["settings"]["quota"]) == (7, 5)
        assert [fault["where"] for fault in state["faults"]] == ["token", "resource"]
        assert await it.end(SIGTERM) == 0
    assert it.err == []


async def test_sandbox_on_a_port_in_use() -> None:
    """One line that says what to do, exit code 2."""
    with taken_port() as taken:
        code, _, err = await ended("sandbox", "--listen", taken)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith(f"candescent-proxy: listen: cannot listen on {taken} (")


async def test_proxy_and_sandbox_side_by_side() -> None:
    """The two commands of the manual find each other, with the credentials that one prints."""
    async with program("sandbox", "--listen", "127.0.0.1:0") as bank:
        base_url = (await bank.printed("its base URL is")).split()[-1]
        async with program("run", *ANYWHERE, "--base-url", base_url, **CREDENTIALS) as it:
            await it.told("token refreshed")
            assert (await get(await address(it, "listen") + "/v1/accounts"))[0] == 200
            assert await it.end(SIGINT) == 0
        assert await bank.end(SIGINT) == 0
