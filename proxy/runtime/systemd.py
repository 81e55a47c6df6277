"""Notifications to systemd: ready, alive, stopping (``sd_notify(3)``)."""

import asyncio
import os
import socket
from collections.abc import Mapping


class Systemd:
    """Sends to the socket in ``NOTIFY_SOCKET``; does nothing without one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = watchdog_seconds(environ, os.getpid())

    def notify(self, *lines: str) -> None:
        """Send a notification, such as ``READY=1``. Errors are ignored, and it never blocks."""
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return

    async def keep_alive(self) -> None:
        """Notify the watchdog, at half its interval, that the event loop runs."""
        while self._watchdog:
            self.notify("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float:
    """Return the watchdog's interval in seconds for process ``pid``; 0 without a watchdog."""
    meant, interval = environ.get("WATCHDOG_PID", ""), environ.get("WATCHDOG_USEC", "")
    if not (interval.isascii() and interval.isdigit()) or meant not in ("", str(pid)):
        return 0.0
    return int(interval) / 1_000_000
