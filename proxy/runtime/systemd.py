"""What systemd wants to know: that we are ready, alive, and stopping (``sd_notify``)."""

import asyncio
import os
import socket
from collections.abc import Mapping


class Systemd:
    """Speaks to the socket that systemd names in ``NOTIFY_SOCKET``; silent without one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = watchdog_seconds(environ, os.getpid())

    def notify(self, *lines: str) -> None:
        """Send a notification, such as ``READY=1``. A lost one is no reason to fail or to wait."""
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return

    async def keep_alive(self) -> None:
        """Tell the watchdog, twice as often as it asks, that the event loop turns."""
        while self._watchdog:
            self.notify("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float:
    """Return how often the watchdog wants to hear from process ``pid``; 0 for not at all."""
    meant, interval = environ.get("WATCHDOG_PID", ""), environ.get("WATCHDOG_USEC", "")
    if not (interval.isascii() and interval.isdigit()) or meant not in ("", str(pid)):
        return 0.0
    return int(interval) / 1_000_000
