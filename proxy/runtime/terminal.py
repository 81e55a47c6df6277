"""The terminal that the process was started from, if any."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress


def has_terminal() -> bool:
    """Whether the process has a controlling terminal; one that was closed is none."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY))
        return True
    return False


def hangup_handler(reload: Callable[[], None], stop: Callable[[], None]) -> Callable[[], None]:
    """Return what handles SIGHUP, which has two meanings: ``stop`` for a closed terminal.

    ``reload`` for services, ``kill -HUP`` and under ``nohup``. Call it before the signal has
    another handler.
    """
    may_close = has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    def handle() -> None:
        if may_close and not has_terminal():
            stop()
        else:
            reload()

    return handle
