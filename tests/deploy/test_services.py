"""Files for systemd, launchd and Windows: checked by their tools, and run."""

import asyncio
import plistlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from defusedxml import ElementTree

from proxy.cli import init_files, main
from proxy.config.model import Config
from proxy.sandbox import Sandbox
from proxy.telemetry.tracing import FLUSH
from tests.support import needs
from tests.support.program import environment
from tests.support.running import CLIENT, DEADLINE, until

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd/candescent-proxy.service"
UNITS = [UNIT, DEPLOY / "systemd/candescent-proxy.user.service"]
PLIST = DEPLOY / "launchd/candescent-proxy.plist"
WINSW = DEPLOY / "windows/candescent-proxy.xml"
PROGRAM = Path(sys.executable).parent / "candescent-proxy"
KEYS = {"client_id": init_files.CLIENT_ID, "client_secret": init_files.CLIENT_SECRET}
DEFAULTS = Config.model_construct(institution_id="1")


def needed_to_end() -> float:
    """Return the maximal shutdown time with the defaults, in seconds."""
    return DEFAULTS.drain_delay + DEFAULTS.grace_period + DEFAULTS.token.timeout + FLUSH


def settings_of(unit: Path) -> dict[str, list[str]]:
    """Return every setting of a unit, with all its values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Z]\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def write_configuration(folder: Path, base_url: str, *, keys: bool = False) -> Path:
    """Write the files of the services; ``keys`` are credential files."""
    for name, file in KEYS.items():
        (folder / file).write_text(CLIENT[name])
    written = {
        "base_url": base_url,
        "institution_id": "00016",
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
    }
    if keys:
        written |= {f"{name}_file": str(folder / file) for name, file in KEYS.items()}
    configuration = folder / init_files.CONFIGURATION
    configuration.write_text(yaml.safe_dump(written))
    return configuration


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, or skip without systemd."""
    command = [needs.program("systemd-analyze"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    """No unknown setting, and the program exists."""
    installed = tmp_path / unit.name.replace(".user", "")
    text = unit.read_text()
    for place in ("/opt/candescent-proxy/bin/candescent-proxy", "%h/.local/bin/candescent-proxy"):
        text = text.replace(place, str(PROGRAM))
    installed.write_text(text)
    done = analyze("verify", "--man=no", installed)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_unit_is_hardened() -> None:
    """By systemd's exposure level; an unhardened service has 9.6."""
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=15", UNIT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_waits_for_the_shutdown(unit: Path) -> None:
    """Longer than the default; no restart after a configuration error."""
    settings = settings_of(unit)
    assert float(settings["TimeoutStopSec"][0]) > needed_to_end()
    assert settings["RestartPreventExitStatus"] == ["2"]


class Manager:
    """Acts as systemd: starts the service, receives notifications, passes credentials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def has_received(self, line: str) -> bool:
        """Whether a line has been received."""
        while True:
            try:
                self.heard += self.socket.recv(65_536).decode().splitlines()
            except BlockingIOError:
                return line in self.heard

    def environment(self, settings: dict[str, list[str]]) -> dict[str, str]:
        """Return the variables of a service."""
        given = dict(line.split("=", 1) for line in settings.get("Environment", []))
        return environment(
            **{name: text.replace("%d", str(self.folder)) for name, text in given.items()},
            NOTIFY_SOCKET=str(self.folder / "notify"),
            WATCHDOG_USEC=str(int(settings["WatchdogSec"][0]) * 1_000_000),
        )

    def command(self, settings: dict[str, list[str]]) -> list[str]:
        """Return ExecStart with this machine's program and this test's configuration."""
        (line,) = settings["ExecStart"]
        _, *arguments = shlex.split(line)
        at = arguments.index("--config") + 1
        arguments[at] = str(self.folder / Path(arguments[at]).name)
        return [str(PROGRAM), *arguments]

    @asynccontextmanager
    async def started(self, unit: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start the command of a unit; kill it at the end if it still runs."""
        settings = settings_of(unit)
        process = await asyncio.create_subprocess_exec(
            *self.command(settings), env=self.environment(settings)
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            self.socket.close()


async def test_unit_works(tmp_path: Path) -> None:
    """Ready, watchdog, reload and stop, with credentials."""
    assert settings_of(UNIT)["LoadCredential"] == [
        f"{file}:/etc/candescent-proxy/{file}" for file in KEYS.values()
    ]
    assert settings_of(UNIT)["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    async with Sandbox() as bank:
        file = write_configuration(tmp_path, bank.url)
        manager = Manager(tmp_path)
        async with manager.started(UNIT) as process:
            await until(lambda: manager.has_received("READY=1"))
            await until(lambda: manager.has_received("WATCHDOG=1"))
            await until(lambda: bank.bank.token_requests)
            file.write_text(file.read_text().replace("00016", "00017"))
            process.send_signal(signal.SIGHUP)
            await until(lambda: bank.bank.token_requests[-1].institution == "00017")
            process.send_signal(signal.SIGTERM)
            await until(lambda: manager.has_received("STOPPING=1"))
            assert await process.wait() == 0


async def test_configuration_error_is_not_restarted(tmp_path: Path) -> None:
    """By its exit code."""
    write_configuration(tmp_path, "gopher://bank")
    manager = Manager(tmp_path)
    async with manager.started(UNIT) as process:
        assert str(await process.wait()) in settings_of(UNIT)["RestartPreventExitStatus"]


async def test_launchd_service_runs(tmp_path: Path) -> None:
    """Its shell finds the program in the home directory."""
    agent = plistlib.loads(PLIST.read_bytes())
    assert agent["Label"] == PLIST.stem
    assert agent["ExitTimeOut"] > needed_to_end()
    assert agent["Umask"] == 0o077
    # Not every shell execs its last command.
    assert agent["ProgramArguments"][-1].startswith("exec ")
    for folder in (".local/bin", ".config/candescent-proxy", "Library/Logs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".local/bin/candescent-proxy").symlink_to(PROGRAM)
    async with Sandbox() as bank:
        write_configuration(tmp_path / ".config/candescent-proxy", bank.url, keys=True)
        process = await asyncio.create_subprocess_exec(
            *agent["ProgramArguments"], env=environment(HOME=str(tmp_path))
        )
        try:
            await until(lambda: bank.bank.token_requests)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
        finally:
            if process.returncode is None:
                process.kill()
    log = (tmp_path / "Library/Logs/candescent-proxy.log").read_text()
    assert '"event": "stopped"' in log


def test_windows_service() -> None:
    """Well-formed, without privileges, with a stop timeout."""
    service = ElementTree.fromstring(WINSW.read_text(encoding="utf-8"))
    reported = {child.tag: child.text or "" for child in service}
    assert (service.tag, reported["id"]) == ("service", WINSW.stem)
    words = shlex.split(reported["arguments"].replace("\\", "/"))
    assert main.parser(words[0]).parse_args(words).config.name == init_files.CONFIGURATION
    assert float(reported["stoptimeout"].removesuffix(" sec")) > needed_to_end()
    assert service.findtext("serviceaccount/username") == r"NT AUTHORITY\LocalService"
    assert {entry.get("action") for entry in service.findall("onfailure")} == {"restart"}
