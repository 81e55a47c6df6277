"""Windows and macOS, simulated on Linux: no uvloop, no signal handlers, no Unix sockets."""

import asyncio
import importlib.util
import os
import signal
import socket
import ssl
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import yaml

from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.runtime import serve
from proxy.runtime.systemd import Systemd
from proxy.sandbox import Sandbox
from proxy.server.port import Port
from proxy.tokens.credentials import Logins
from tests.support import needs
from tests.support.captured_log import captured_log
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.program import CREDENTIALS, ROOT, environment
from tests.support.running import DEADLINE, make_app, until
from tests.support.windows import MODULES, OF_OS, windows_like_loop

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work`` on a loop like that of Windows; restore the signal handlers."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with asyncio.Runner(loop_factory=windows_like_loop) as there:
            return there.run(work)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        structlog.reset_defaults()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_wait(number: signal.Signals) -> None:
    """Without signal handlers of the loop, Python's own are used."""

    async def work() -> int:
        stop = serve.stop_signal()
        for _ in range(2):
            os.kill(os.getpid(), number)
        async with asyncio.timeout(DEADLINE):
            return int(await stop == number.name)

    assert run(work()) == 1


def test_proxy_runs_from_start_to_end(tmp_path: Path) -> None:
    """It forwards, reloads its configuration, and ends on a signal."""
    file = tmp_path / "config.yaml"

    async def work() -> int:
        async with Sandbox() as bank:
            written = {
                "base_url": bank.url,
                "listen": "127.0.0.1:0",
                "admin": "127.0.0.1:0",
                "log": {"access": "on"},
            }
            file.write_text(yaml.safe_dump(written))

            def reread() -> tuple[Config, Logins]:
                config = loader.load(file, CREDENTIALS, {})
                return config, loader.logins(config)

            serving = asyncio.create_task(serve.serve(reread, file))
            await until(lambda: log.lines("listening") or serving.done())
            (line,) = log.lines("listening")
            async with aiohttp.request("GET", f"http://{line['listen']}/v1/accounts") as response:
                assert response.status == 200
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: log.lines("configuration reloaded"))
            os.kill(os.getpid(), signal.SIGTERM)
            return await serving

    with captured_log() as log:
        assert run(work()) == 0
    assert log.lines()[-1]["event"] == "stopped"


@pytest.mark.parametrize("setting", ["listen", "admin"])
def test_unix_socket_is_a_configuration_error(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that the platform has none."""

    async def work() -> int:
        app = make_app("http://127.0.0.1:1", **{setting: f"unix:{tmp_path}/socket"})
        monkeypatch.delattr(socket, "AF_UNIX")
        with pytest.raises(ConfigError, match=rf"^{setting}: .*no Unix sockets"):
            await app.start()
        return 0

    assert run(work()) == 0


def test_certificate_is_renewed(tmp_path: Path) -> None:
    """An open port uses a new certificate without ``add_reader``."""
    authority = OpensslAuthority.make(tmp_path)
    contexts = [
        server_context(authority.issue("port", "IP:127.0.0.1", file=f"port-{number}"))
        for number in range(2)
    ]
    trusting = ssl.create_default_context(cafile=authority.file)

    async def work() -> int:
        port = Port(asyncio.Protocol, loader.address("listen", "127.0.0.1:0"), 5)
        address = await port.open(contexts[0], 0o600)
        port.replace_tls(contexts[1])
        _, writer = await asyncio.open_connection(address.host, address.port, ssl=trusting)
        writer.close()
        port.close()
        return 0

    assert run(work()) == 0


def test_systemd_is_not_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Unix sockets has no systemd."""
    monkeypatch.delattr(socket, "AF_UNIX")
    Systemd({"NOTIFY_SOCKET": "/run/systemd/notify"}).notify("READY=1")


async def on_windows(*arguments: str | Path, **variables: str) -> tuple[int, str]:
    """Run a command without what Windows lacks; return exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.windows", *map(str, arguments)),
        cwd=ROOT,
        env=environment(**variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    return process.returncode or 0, said.decode()


async def test_commands_run_on_windows(tmp_path: Path) -> None:
    """From ``init`` to ``doctor``, with every module imported again."""
    (tmp_path / "key").write_text("sandbox-client")
    (tmp_path / "secret").write_text("sandbox-secret")
    async with Sandbox() as bank:
        code, said = await on_windows(
            *("init", tmp_path / "made", "--base-url", bank.url, "--institution", "00016"),
            *("--client-id-file", tmp_path / "key", "--client-secret-file", tmp_path / "secret"),
            *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        )
        assert code == 0, said
        code, said = await on_windows("doctor", "--config", tmp_path / "made/proxy.yaml")
        assert code == 0, said


@pytest.mark.parametrize("command", ["run", "healthcheck"])
async def test_unix_socket_of_commands_is_an_error(command: str, tmp_path: Path) -> None:
    """There is no traceback."""
    addresses = {"CANDESCENT_LISTEN": f"unix:{tmp_path}/socket"}
    admin = ("--admin", f"unix:{tmp_path}/admin")
    async with Sandbox() as bank:
        variables = {**CREDENTIALS, **addresses, "CANDESCENT_BASE_URL": bank.url}
        code, said = await on_windows(command, *admin, **variables)
        assert code in (1, 2)
        assert "no Unix sockets" in said
        assert "Traceback" not in said


@needs.skip_if(sys.platform == "win32", "takes away what Windows lacks", "make test on Linux")
def test_removed_features_exist_here() -> None:
    """Otherwise the simulation would test nothing."""
    assert all(importlib.util.find_spec(name) for name in MODULES if name != "uvloop")
    assert all(hasattr(os, name) for name in OF_OS)
