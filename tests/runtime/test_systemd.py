"""What systemd is told, heard on a real datagram socket as it listens on one."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.runtime.systemd import Systemd, watchdog_seconds
from proxy.sandbox import Sandbox
from tests.support.running import make_app, until


class Manager:
    """The listening end, as systemd has it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind("\0" + address[1:] if address.startswith("@") else address)

    def heard(self) -> list[str]:
        """Return every message since the last look."""
        messages = []
        try:
            while True:
                messages.append(self.sock.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager on a socket of either kind."""
    names = {"path": str(tmp_path / "notify"), "abstract": f"@candescent-test-{os.getpid()}"}
    manager = Manager(names[request.param])
    yield manager
    manager.sock.close()


def test_notifications_arrive(manager: Manager) -> None:
    """Each is one datagram, its lines as systemd reads them."""
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    systemd.notify("READY=1", "STATUS=Well")
    systemd.notify("STOPPING=1")
    assert manager.heard() == ["READY=1\nSTATUS=Well", "STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    """No variable, or a socket that is gone, is no reason to fail."""
    Systemd({"NOTIFY_SOCKET": address}).notify("READY=1")
    Systemd({}).notify("READY=1")


def test_manager_that_does_not_listen_is_not_waited_for(tmp_path: Path) -> None:
    """A full socket loses the message, not the proxy's time: the event loop would stand."""
    manager = Manager(str(tmp_path / "notify"))
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    for _ in range(10_000):
        systemd.notify("WATCHDOG=1")
    assert 0 < len(manager.heard()) < 10_000
    systemd.notify("READY=1")
    assert manager.heard() == ["READY=1"]
    manager.sock.close()


async def test_watchdog_hears_from_us_in_time(tmp_path: Path) -> None:
    """Twice in each period, for as long as the event loop turns."""
    manager = Manager(str(tmp_path / "notify"))
    systemd = Systemd({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"})
    beating = asyncio.create_task(systemd.keep_alive())
    heard: list[str] = []
    started = asyncio.get_running_loop().time()

    def has_heard(times: int) -> bool:
        heard.extend(manager.heard())
        return len(heard) >= times

    await until(lambda: has_heard(5))
    assert asyncio.get_running_loop().time() - started >= 4 * 0.05 * 0.9
    assert set(heard) == {"WATCHDOG=1"}
    beating.cancel()
    manager.sock.close()


async def test_no_watchdog_no_beat() -> None:
    """Where none is asked for, nothing runs."""
    await asyncio.wait_for(Systemd({}).keep_alive(), 1)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "42"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "43"}, 0.0),
        ({"WATCHDOG_USEC": "0"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-1"}, 0.0),
        ({}, 0.0),
    ],
)
def test_watchdog_period(environ: dict[str, str], seconds: float) -> None:
    """Only a number, and only one that is meant for this process, asks for a beat."""
    assert watchdog_seconds(environ, 42) == seconds


async def test_proxy_tells_of_its_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready when it listens, alive meanwhile, stopping before it waits for anything."""
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "50000")
    async with Sandbox() as bank:
        app = make_app(bank.url, drain_delay="0.2")
        assert manager.heard() == []
        await app.start()
        assert manager.heard()[-1] == f"READY=1\nSTATUS=Forwarding to {bank.url}"
        await until(lambda: "WATCHDOG=1" in manager.heard())
        stopping = asyncio.create_task(app.stop())
        await until(lambda: "STOPPING=1" in manager.heard())
        assert not stopping.done()
        await until(lambda: "WATCHDOG=1" in manager.heard())  # a long drain is not a hung process
        await stopping
    manager.sock.close()
