"""The file of the access log: renamed at a size, opened anew, and what happens on a full disk."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.runtime.app import App
from proxy.sandbox import Sandbox
from proxy.telemetry.logs.access_file import AccessFile, open_access_file
from proxy.telemetry.telemetry_settings import LogSettings
from tests.support import needs
from tests.support.captured_log import CapturedLog, captured_log
from tests.support.program import environment
from tests.support.raw_client import ask, request
from tests.support.running import running, until

LINE = "x" * 99 + "\n"


@pytest.fixture
def log() -> Iterator[CapturedLog]:
    """A captured log."""
    with captured_log() as made:
        yield made


def write(file: AccessFile, count: int) -> None:
    """Write numbered lines one by one, so that each is a batch."""
    for number in range(count):
        before = file._written_size
        file.write(f"{number:04} {LINE[5:]}")
        while file._written_size == before:
            pass


def numbers(path: Path) -> list[int]:
    """Return the numbers of the lines in a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(len(line) == 99 for line in lines)
    return [int(line[:4]) for line in lines]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (2, {"log": [8, 9], "log.1": [4, 5, 6, 7], "log.2": [0, 1, 2, 3]}),
        (1, {"log": [8, 9], "log.1": [4, 5, 6, 7]}),
        (0, {"log": [8, 9]}),
    ],
)
def test_file_is_renamed_at_its_size(tmp_path: Path, keep: int, left: dict[str, list[int]]) -> None:
    """Between two lines; the oldest is deleted, and only the user and the group may read."""
    file = AccessFile(tmp_path / "log", 400, keep)
    write(file, 10)
    file.end()
    assert {one.name: numbers(one) for one in tmp_path.iterdir()} == left
    assert file.dropped == 0
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o007 == 0


def test_lines_are_appended(tmp_path: Path) -> None:
    """After a restart; without a size the file is never renamed."""
    for _ in range(2):
        file = AccessFile(tmp_path / "log", 0, 5)
        write(file, 30)
        file.end()
    assert numbers(tmp_path / "log") == [*range(30), *range(30)]
    assert [one.name for one in tmp_path.iterdir()] == ["log"]


def test_file_is_opened_anew(tmp_path: Path) -> None:
    """After another program has renamed it; without the signal, its lines go to the renamed one."""
    path = tmp_path / "log"
    file = AccessFile(path, 0, 5)
    write(file, 1)
    path.rename(tmp_path / "yesterday")
    write(file, 2)
    file.reopen()
    write(file, 3)
    file.end()
    assert numbers(tmp_path / "yesterday") == [0, 0, 1]
    assert numbers(path) == [0, 1, 2]


def test_file_that_was_renamed_by_another_is_replaced_at_its_size(tmp_path: Path) -> None:
    """Nothing is lost where both rename it."""
    path = tmp_path / "log"
    file = AccessFile(path, 400, 5)
    write(file, 4)
    path.rename(tmp_path / "theirs")
    write(file, 2)
    file.end()
    assert numbers(path) == [0, 1]


@pytest.mark.parametrize("act", [AccessFile.reopen, lambda _file: None], ids=["reopen", "rename"])
def test_folder_that_has_gone(
    tmp_path: Path, log: CapturedLog, act: Callable[[AccessFile], None]
) -> None:
    """The open file stays in use, and the log says so; it is tried again at the next size."""
    folder = tmp_path / "logs"
    folder.mkdir()
    file = AccessFile(folder / "log", 400, 5)
    write(file, 4)
    (folder / "log").rename(tmp_path / "kept")
    folder.rmdir()
    act(file)
    write(file, 2)
    assert numbers(tmp_path / "kept") == [0, 1, 2, 3, 0, 1]
    folder.mkdir()
    write(file, 3)
    file.end()
    assert file.dropped == 0
    assert log.lines("access log file failed")[0]["file"] == str(folder / "log")


def test_rename_that_fails(tmp_path: Path, log: CapturedLog) -> None:
    """The file grows by another size before the next try."""
    file = AccessFile(tmp_path / "log", 400, 1)
    (tmp_path / "log.1" / "in the way").mkdir(parents=True)
    write(file, 7)
    assert len(numbers(tmp_path / "log")) == 7
    (said,) = log.lines("access log file failed")
    assert said["detail"].startswith("it cannot be renamed: ")
    (tmp_path / "log.1" / "in the way").rmdir()
    (tmp_path / "log.1").rmdir()
    write(file, 3)
    file.end()
    assert (len(numbers(tmp_path / "log.1")), len(numbers(tmp_path / "log"))) == (8, 2)


FULL = """
import resource, signal, sys
from pathlib import Path
from proxy.telemetry import logs
from proxy.telemetry.telemetry_settings import LogSettings
from tests.telemetry.logs.test_access_file import AccessFile, write
logs.set_up(LogSettings(format="json"))
file = AccessFile(Path(sys.argv[1]), 0, 5)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (350, hard))
write(file, 6)
dropped = file.dropped
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
write(file, 1)
file.end()
print(dropped, file.dropped)
"""


async def test_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """Lines are counted and reported, none is cut, and later ones are written."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FULL, str(tmp_path / "log")),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out.split() == [b"3", b"3"], err.decode()
    assert numbers(tmp_path / "log") == [0, 1, 2, 0]
    failed, dropped = err.decode().splitlines()
    assert '"event": "access log file failed"' in failed
    assert "it cannot be written: File too large" in failed
    assert '"event": "access log lines dropped", "level": "warning"' in dropped.replace(
        '"lines": 3, ', ""
    )


def test_device(log: CapturedLog) -> None:
    """It is neither renamed nor truncated; the one that is always full drops every line."""
    file = AccessFile(Path("/dev/full"), 1, 5)
    write(file, 3)
    file.end()
    assert file.dropped == 3
    assert len(log.lines("access log file failed")) == 1


def test_late_lines_are_dropped(tmp_path: Path) -> None:
    """They neither fail nor reach another file that has the descriptor by then."""
    file = AccessFile(tmp_path / "log", 0, 5)
    file.end()
    descriptor = os.open(tmp_path / "other", os.O_CREAT | os.O_WRONLY)
    file.write(LINE)
    file.end()
    os.close(descriptor)
    assert (tmp_path / "other").read_bytes() == (tmp_path / "log").read_bytes() == b""


@pytest.mark.parametrize("name", ["missing/log", "folder"])
def test_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    """It is a configuration error, unless no request is logged."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError) as refused:
        open_access_file(LogSettings(access_file=tmp_path / name))
    assert refused.value.errors[0].startswith(f"log.access_file: {tmp_path / name} cannot be ")
    assert open_access_file(LogSettings(access_file=tmp_path / name, access="off")) is None
    assert open_access_file(LogSettings()) is None


def test_pipe_without_a_reader(tmp_path: Path) -> None:
    """It is an error, not a wait."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="No such device"):
        open_access_file(LogSettings(access_file=tmp_path / "pipe"))


def test_full_disk_is_an_error_at_start(tmp_path: Path) -> None:
    """A small file system without a free block."""
    needs.root()
    code = (
        "import os, sys; from pathlib import Path\n"
        "from proxy.telemetry.logs.access_file import AccessFile\n"
        "folder = Path(sys.argv[1])\n"
        "fill = os.open(folder / 'fill', os.O_CREAT | os.O_WRONLY)\n"
        "try:\n"
        "    while True: os.write(fill, b'x' * 4096)\n"
        "except OSError: pass\n"
        "try: AccessFile(folder / 'log', 0, 5)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    script = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "$3" "$1"'
    done = _run("unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, code)
    assert done == "No space left on device\n"


def _run(*command: str) -> str:
    import subprocess  # noqa: PLC0415 - for this alone

    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    return done.stdout + done.stderr


async def test_requests_go_to_the_file(tmp_path: Path, log: CapturedLog) -> None:
    """With address and User-Agent, and not to the other log; what waits is written at the end."""
    path = tmp_path / "log"
    settings = {"access": "on", "access_file": str(path), "access_format": "combined"}
    async with Sandbox() as bank, running(bank, log=settings) as app:
        await ask(app, request("GET", "/v1/accounts", "User-Agent: payroll/1"))
        await ask(app, b"broken\r\n\r\n")
    good, bad = path.read_text(encoding="utf-8").splitlines()
    assert good.startswith("127.0.0.1 - - [")
    assert '"GET /v1/accounts HTTP/1.1" 200 ' in good
    assert good.endswith(' "-" "payroll/1"')
    assert bad.startswith("127.0.0.1 - - [")
    assert " 400 " in bad
    assert log.lines("request") == []


async def test_dropped_lines_are_a_metric(log: CapturedLog) -> None:
    """With those of the other log; no request fails."""
    settings = {"access": "on", "access_file": "/dev/full"}
    async with Sandbox() as bank, running(bank, log=settings) as app:
        assert (await ask(app, request("GET", "/v1/accounts"))).status == 200
        await until(lambda: _dropped(app) == 1)
    assert log.lines("access log file failed")


def _dropped(app: App) -> float:
    for line in app.metrics.exposition("")[0].decode().splitlines():
        if line.startswith("candescent_proxy_log_lines_dropped_total "):
            return float(line.split()[1])
    raise AssertionError
