"""Notifications of systemd, received on a real datagram socket."""

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
    """The receiving side, as in systemd."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind("\0" + address[1:] if address.startswith("@") else address)

    def received(self) -> list[str]:
        """Return the messages since the last call."""
        messages = []
        try:
            while True:
                messages.append(self.sock.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager on a path or an abstract socket."""
    names = {"path": str(tmp_path / "notify"), "abstract": f"@candescent-test-{os.getpid()}"}
    manager = Manager(names[request.param])
    yield manager
    manager.sock.close()


def test_notifications_arrive(manager: Manager) -> None:
    """Each is one datagram of lines."""
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    systemd.notify("READY=1", "STATUS=Well")
    systemd.notify("STOPPING=1")
    assert manager.received() == ["READY=1\nSTATUS=Well", "STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_missing_manager_is_ignored(address: str) -> None:
    """Without the variable or the socket nothing fails."""
    Systemd({"NOTIFY_SOCKET": address}).notify("READY=1")
    Systemd({}).notify("READY=1")


def test_full_socket_does_not_block(tmp_path: Path) -> None:
    """Messages are dropped instead of blocking the event loop."""
    manager = Manager(str(tmp_path / "notify"))
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    for _ in range(10_000):
        systemd.notify("WATCHDOG=1")
    assert 0 < len(manager.received()) < 10_000
    systemd.notify("READY=1")
    assert manager.received() == ["READY=1"]
    manager.sock.close()


async def test_watchdog_is_notified_in_time(tmp_path: Path) -> None:
    """Twice in each period."""
    manager = Manager(str(tmp_path / "notify"))
    systemd = Systemd({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"})
    beating = asyncio.create_task(systemd.keep_alive())
    received: list[str] = []
    started = asyncio.get_running_loop().time()

    def has_received(times: int) -> bool:
        received.extend(manager.received())
        return len(received) >= times

    await until(lambda: has_received(5))
    assert asyncio.get_running_loop().time() - started >= 4 * 0.05 * 0.9
    assert set(received) == {"WATCHDOG=1"}
    beating.cancel()
    manager.sock.close()


async def test_no_notifications_without_a_watchdog() -> None:
    """The coroutine returns at once."""
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
    """Only a positive number for this process enables the watchdog."""
    assert watchdog_seconds(environ, 42) == seconds


async def test_proxy_notifies_of_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY when it listens, WATCHDOG while it runs, STOPPING before it drains."""
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "50000")
    async with Sandbox() as bank:
        app = make_app(bank.url, drain_delay="0.2")
        assert manager.received() == []
        await app.start()
        assert manager.received()[-1] == f"READY=1\nSTATUS=Forwarding to {bank.url}"
        await until(lambda: "WATCHDOG=1" in manager.received())
        stopping = asyncio.create_task(app.stop())
        await until(lambda: "STOPPING=1" in manager.received())
        assert not stopping.done()
        await until(lambda: "WATCHDOG=1" in manager.received())  # a long drain is not a hang
        await stopping
    manager.sock.close()
