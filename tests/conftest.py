"""What holds for every test."""

import asyncio
import importlib
import importlib.util
import os
import signal
from collections.abc import Callable

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.skips"]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if importlib.util.find_spec("uvloop"):  # there is none for Windows and PyPy
    LOOPS["uvloop"] = importlib.import_module("uvloop").new_event_loop

# A slow machine is no bug; and what CI finds today, it must find again tomorrow.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")

# A shell without job control starts background jobs with SIGINT ignored (POSIX, Shell Command
# Language, 2.11), nohup ignores SIGHUP, and children inherit both. Tests send these signals.
for _name in ("SIGINT", "SIGHUP"):
    _number = getattr(signal, _name, None)  # Windows has no SIGHUP
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of a module that says ``EVERY_LOOP = True`` on uvloop's loop too.

    The loops differ in what becomes of a connection that closes, and the proxy serves on uvloop
    where there is one.
    """
    every = getattr(getattr(item, "module", None), "EVERY_LOOP", False)
    return LOOPS if every else {"asyncio": asyncio.new_event_loop}
