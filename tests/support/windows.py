"""Removes from this process what Windows lacks, to test the program without it.

::

    python -m tests.support.windows doctor --config …      any command, without all that

What Windows lacks is in the documentation of Python ("Availability: Unix") and of asyncio
("Platform Support").
"""

import asyncio
import importlib
import os
import pkgutil
import signal
import socket
import ssl
import sys
from functools import partial
from typing import Any, NoReturn

MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "uvloop")
OF_OS = ("chown", "fork", "getegid", "geteuid", "getgid", "getpgid", "getuid", "killpg", "mkfifo")
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
OF_LOOPS = (
    *("add_signal_handler", "remove_signal_handler", "add_reader"),
    *("create_unix_server", "create_unix_connection"),
)


def windows_like_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that raises ``NotImplementedError`` like that of Windows."""
    loop = asyncio.SelectorEventLoop()
    for name in OF_LOOPS:
        setattr(loop, name, _missing)
    return loop


def _missing(*_: Any, **__: Any) -> NoReturn:
    raise NotImplementedError


def become_windows() -> None:
    """Remove from this process what Windows lacks, and import the program again.

    The libraries stay imported, because they detect their platform at import.
    """
    modules = load()
    for name in modules:
        del sys.modules[name]
    sys.platform = "win32"
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # so an import of it fails
    # This system's event loop creates a socket pair of the family AF_UNIX.
    vars(socket)["socketpair"] = partial(socket.socketpair, socket.AF_UNIX)
    for owner, names in ((os, OF_OS), (signal, SIGNALS), (socket, ("AF_UNIX",))):
        for name in names:
            delattr(owner, name)
    # The certificate store of Windows is empty.
    vars(ssl)["enum_certificates"] = lambda _: []
    load()
    runner = importlib.import_module("proxy.runtime.serve")
    vars(runner)["loop_factory"] = lambda: windows_like_loop


def load() -> list[str]:
    """Import every module of the program; return their names."""
    package = importlib.import_module("proxy")
    found = pkgutil.walk_packages(package.__path__, "proxy.")
    names = [name for _, name, _ in found if name != "proxy.cli.__main__"]
    for name in names:
        importlib.import_module(name)
    return ["proxy", *(name for name in sys.modules if name.startswith("proxy."))]


if __name__ == "__main__":
    become_windows()
    importlib.import_module("proxy.cli.main").main(sys.argv[1:])
